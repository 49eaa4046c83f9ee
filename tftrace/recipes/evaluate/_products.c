/* The two sums of `products.py`, compiled: sums of products, and sums of their magnitudes.

float32 is read without conversion to a float64 array, and intermediate values stay in registers. Without a compiler,
tftrace does the same with NumPy; a test compares both. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

enum { LANES = 2 };   /* independent partial sums, so that an addition need not wait for the one before */
enum { BUFFERS = 4 }; /* x [batch, m, k], y [batch, n, k], and their sums and magnitudes, each [batch, m, n] */

/* dot: a row of x times a row of y, if y is contiguous along k. add: one element of x times a column of y, if y is
   contiguous along n. products: either of them over all rows. */
#define KERNELS(NAME, X, Y)                                                                                            \
    static void dot_##NAME(const X *x, const Y *y, Py_ssize_t count, double *sum, double *size) {                      \
        double sums[LANES] = {0}, sizes[LANES] = {0};                                                                  \
        for (; count >= LANES; count -= LANES, x += LANES, y += LANES)                                                 \
            for (int at = 0; at < LANES; at++) {                                                                       \
                double product = (double)x[at] * (double)y[at];                                                        \
                sums[at] += product;                                                                                   \
                sizes[at] += fabs(product);                                                                            \
            }                                                                                                          \
        for (int at = 0; at < count; at++) {                                                                           \
            double product = (double)x[at] * (double)y[at];                                                            \
            sums[at] += product;                                                                                       \
            sizes[at] += fabs(product);                                                                                \
        }                                                                                                              \
        *sum = *size = 0;                                                                                              \
        for (int at = 0; at < LANES; at++) *sum += sums[at], *size += sizes[at];                                       \
    }                                                                                                                  \
    static void add_##NAME(const X *x, const Y *y, Py_ssize_t count, double *sum, double *size) {                      \
        for (Py_ssize_t at = 0; at < count; at++) {                                                                    \
            double product = (double)*x * (double)y[at];                                                               \
            sum[at] += product;                                                                                        \
            size[at] += fabs(product);                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    static void products_##NAME(const Py_buffer *a, const Py_buffer *b, double *sum, double *size, int along) {        \
        Py_ssize_t m = a->shape[1], n = b->shape[1], k = a->shape[2];                                                  \
        for (Py_ssize_t at = 0; at < a->shape[0] * m; at++, sum += n, size += n) {                                     \
            const X *x = (const X *)a->buf + at * k;                                                                   \
            const char *y = (const char *)b->buf + at / m * b->strides[0];                                             \
            if (along)                                                                                                 \
                for (Py_ssize_t j = 0; j < n; j++)                                                                     \
                    dot_##NAME(x, (const Y *)(y + j * b->strides[1]), k, sum + j, size + j);                           \
            else {                                                                                                     \
                memset(sum, 0, n * sizeof *sum);                                                                       \
                memset(size, 0, n * sizeof *size);                                                                     \
                for (Py_ssize_t j = 0; j < k; j++) add_##NAME(x + j, (const Y *)(y + j * b->strides[2]), n, sum, size);\
            }                                                                                                          \
        }                                                                                                              \
    }
KERNELS(ff, float, float)
KERNELS(fd, float, double)
KERNELS(df, double, float)
KERNELS(dd, double, double)

static int same(const Py_buffer *one, int at, const Py_buffer *two, int other) {
    return one->shape[at] == two->shape[other];
}

/* Whether the arrays have the types, shapes and strides that the kernels assume. */
static int fitting(const Py_buffer *given) {
    const Py_buffer *x = given, *y = given + 1;
    for (int at = 0; at < BUFFERS; at++) {
        const char *kind = given[at].format;
        if (given[at].ndim != 3 || !kind || !(!strcmp(kind, "d") || (at < 2 && !strcmp(kind, "f")))) return 0;
        if (at != 1 && !PyBuffer_IsContiguous(&given[at], 'C')) return 0;
    }
    for (const Py_buffer *out = given + 2; out < given + BUFFERS; out++)
        if (!same(out, 0, x, 0) || !same(out, 1, x, 1) || !same(out, 2, y, 1)) return 0;
    return same(x, 0, y, 0) && same(x, 2, y, 2);
}

static PyObject *products(PyObject *self, PyObject *const *arrays, Py_ssize_t count) {
    if (count != BUFFERS) return PyErr_Format(PyExc_TypeError, "products(x, y, sums, sizes)");
    Py_buffer given[BUFFERS];
    int had = 0, done = 0;
    for (; had < BUFFERS; had++)
        if (PyObject_GetBuffer(arrays[had], &given[had], had < 2 ? PyBUF_RECORDS_RO : PyBUF_RECORDS) < 0) break;
    if (had == BUFFERS && fitting(given)) {
        const Py_buffer *x = given, *y = given + 1;
        int along = y->shape[2] < 2 || y->strides[2] == y->itemsize;
        if (along || y->shape[1] < 2 || y->strides[1] == y->itemsize) {
            double *sum = given[2].buf, *size = given[3].buf;
            done = 1;
            Py_BEGIN_ALLOW_THREADS;
            if (x->itemsize == sizeof(float))
                (y->itemsize == sizeof(float) ? products_ff : products_fd)(x, y, sum, size, along);
            else
                (y->itemsize == sizeof(float) ? products_df : products_dd)(x, y, sum, size, along);
            Py_END_ALLOW_THREADS;
        }
    }
    while (had) PyBuffer_Release(&given[--had]);
    if (done) Py_RETURN_NONE;
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "the arrays do not fit");
    return NULL;
}

static PyMethodDef methods[] = {
    {"products", (PyCFunction)(void (*)(void))products, METH_FASTCALL, "See `products` in products.py."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_products", "Sums of products.", -1, methods};

PyMODINIT_FUNC PyInit__products(void) { return PyModule_Create(&definition); }
