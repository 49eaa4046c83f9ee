/* `print_of` of `trace/prints.py` for a tensor on the host, compiled: each number is read once, in the order of memory
   wherever the last axis is one run. Of anything else it says None, and `token_prints.py` does it with torch. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "_dlpack.h"

#if defined(__x86_64__) && defined(__GLIBC__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default"))) /* the loader takes what the processor has */
#else
#define WIDE
#endif

enum { LANES = 8, SIDE = 16, MOST = 4 }; /* lanes of a print; numbers side by side; axes */
enum { LARGE = 1 << 16 };                /* as in `_stats.c` */

static double number_of(uint16_t half) { /* bfloat16 is half of a float32 */
    uint32_t whole = (uint32_t)half << 16;
    float number;
    memcpy(&number, &whole, sizeof number);
    return number;
}

/* Where the numbers of some tokens lie: each token has `outer` runs of `inner` numbers. Steps are in numbers. */
typedef struct {
    int64_t tokens, token_step, outer, outer_step, inner, inner_step;
} Form;

/* The lanes of some tokens, as float32; the sums are those of float64, whose order is that of the places in a token. */
#define KERNEL(NAME, STORED, LOAD)                                                                                     \
    WIDE static void NAME(const void *data, Form form, const double *weights, char *out) {                             \
        for (int64_t token = 0; token < form.tokens; token++, out += LANES * sizeof(float)) {                          \
            double lanes[LANES] = {0};                                                                                 \
            for (int64_t outer = 0; outer < form.outer; outer++) {                                                     \
                const STORED *from = (const STORED *)data + token * form.token_step + outer * form.outer_step;         \
                int64_t at = outer * form.inner, done = 0;                                                             \
                const double *by = weights + at;                                                                       \
                double sums[SIDE] = {0};                                                                               \
                if (form.inner_step == 1)                                                                              \
                    for (; done + SIDE <= form.inner; done += SIDE)                                                    \
                        _Pragma("GCC unroll 1") for (int lane = 0; lane < SIDE; lane++)                                \
                            sums[lane] += (double)LOAD(from[done + lane]) * by[done + lane];                           \
                for (; done < form.inner; done++)                                                                      \
                    sums[done % SIDE] += (double)LOAD(from[done * form.inner_step]) * by[done];                        \
                if (at % LANES == 0) {                                                                                 \
                    for (int lane = 0; lane < LANES; lane++) lanes[lane] += sums[lane];                                \
                    for (int lane = 0; lane < LANES; lane++) lanes[lane] += sums[LANES + lane];                        \
                } else                                                                                                 \
                    for (int lane = 0; lane < SIDE; lane++) lanes[(at + lane) % LANES] += sums[lane];                  \
            }                                                                                                          \
            float narrow[LANES];                                                                                       \
            for (int lane = 0; lane < LANES; lane++) narrow[lane] = (float)lanes[lane];                                \
            memcpy(out, narrow, sizeof narrow);                                                                        \
        }                                                                                                              \
    }

KERNEL(floats, float, )
KERNEL(doubles, double, )
KERNEL(halves, uint16_t, number_of)

static const struct {
    uint8_t code, bits;
    void (*print)(const void *data, Form form, const double *weights, char *out);
} kinds[] = {{FLOAT, 32, floats}, {FLOAT, 64, doubles}, {BFLOAT, 16, halves}};

/* The print of what lies at an address along an axis, or None. */
static PyObject *print_at(const char *data, const Told *told, int axis, const Py_buffer *weights) {
    size_t at = 0, most = sizeof kinds / sizeof *kinds, bytes = told->dtype.bits / 8u;
    while (at < most && (kinds[at].code != told->dtype.code || kinds[at].bits != told->dtype.bits)) at++;
    if (at == most || (uintptr_t)data % bytes || told->dims > MOST || axis < 0 || axis >= told->dims) Py_RETURN_NONE;

    int64_t rows = axis ? told->shape[0] : 1, tokens = told->shape[axis], width = 1;
    int64_t sizes[2] = {1, 1}, steps[2] = {0, 1}; /* of the axes that are a token's own, outer and inner */
    for (int of = told->dims - 1, own = 1; of >= 0; of--) {
        if (of == axis || (axis && of == 0)) continue;
        if (own < 0) Py_RETURN_NONE;
        sizes[own] = told->shape[of], steps[own--] = told->strides[of];
        width *= told->shape[of];
    }
    if (rows * tokens * width <= 0 || weights->len < width * (int64_t)sizeof(double)) Py_RETURN_NONE;
    PyObject *found = PyBytes_FromStringAndSize(NULL, rows * tokens * LANES * (int64_t)sizeof(float));
    if (!found) return NULL;

    char *out = PyBytes_AS_STRING(found);
    PyThreadState *others = rows * tokens * width > LARGE ? PyEval_SaveThread() : NULL;
    if (steps[1] == 1 && steps[0] == sizes[1]) sizes[1] *= sizes[0], sizes[0] = 1; /* they are one run */
    Form form = {tokens, told->strides[axis], sizes[0], steps[0], sizes[1], steps[1]};
    for (int64_t row = 0; row < rows; row++, out += tokens * LANES * (int64_t)sizeof(float))
        kinds[at].print(data + (int64_t)bytes * row * (axis ? told->strides[0] : 0), form, weights->buf, out);
    if (others) PyEval_RestoreThread(others);
    return found;
}

static PyObject *prints(PyObject *self, PyObject *args) {
    PyObject *tensor;
    int axis;
    Py_buffer weights;
    if (!PyArg_ParseTuple(args, "Oiy*", &tensor, &axis, &weights)) return NULL;
    Told told;
    const char *data = memory_of(tensor, &told);
    PyObject *found = data ? print_at(data, &told, axis, &weights) : Py_NewRef(Py_None);
    PyBuffer_Release(&weights);
    return found;
}

static PyMethodDef methods[] = {
    {"prints", prints, METH_VARARGS, "The print of a tensor along an axis, as bytes; see trace/prints.py."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_prints", "Prints of tokens.", -1, methods};

PyMODINIT_FUNC PyInit__prints(void) {
#if !defined(__GNUC__) || defined(__clang__)
    return PyErr_Format(PyExc_ImportError, "only GCC makes vectors of the lanes: with others torch is as quick");
#else
    return can_tell() ? with_function(PyModule_Create(&definition), (void *)print_at) : NULL;
#endif
}
