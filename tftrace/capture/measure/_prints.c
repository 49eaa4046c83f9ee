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

enum { LANES = 8, SIDE = 16, MOST = 4, LARGE = 1 << 16 }; /* lanes of a print; numbers side by side; axes; see _stats.c */

static double number_of(uint16_t half) { /* bfloat16 is half of a float32 */
    uint32_t whole = (uint32_t)half << 16;
    float number;
    memcpy(&number, &whole, sizeof number);
    return number;
}

/* Add `count` numbers, the first of which is number `at` of its token, to the lanes. */
#define KERNEL(NAME, STORED, LOAD)                                                                                     \
    WIDE static void NAME(const void *data, int64_t count, int64_t step, const float *weights, int64_t at,             \
                          double *lanes) {                                                                             \
        const STORED *from = data;                                                                                     \
        double sums[SIDE] = {0};                                                                                       \
        const float *by = weights + at;                                                                                \
        int64_t done = 0;                                                                                              \
        if (step == 1)                                                                                                 \
            for (; done + SIDE <= count; done += SIDE)                                                                 \
                _Pragma("GCC unroll 1") for (int lane = 0; lane < SIDE; lane++)                                        \
                    sums[lane] += (double)LOAD(from[done + lane]) * (double)by[done + lane];                           \
        for (; done < count; done++) sums[done % SIDE] += (double)LOAD(from[done * step]) * (double)by[done];          \
        for (int lane = 0; lane < SIDE; lane++) lanes[(at + lane) % LANES] += sums[lane];                              \
    }

KERNEL(floats, float, )
KERNEL(doubles, double, )
KERNEL(halves, uint16_t, number_of)

static const struct {
    uint8_t code, bits;
    void (*add)(const void *data, int64_t count, int64_t step, const float *weights, int64_t at, double *lanes);
} kinds[] = {{FLOAT, 32, floats}, {FLOAT, 64, doubles}, {BFLOAT, 16, halves}};

static PyObject *prints(PyObject *self, PyObject *args) {
    PyObject *tensor;
    int axis;
    Py_buffer weights;
    if (!PyArg_ParseTuple(args, "Oiy*", &tensor, &axis, &weights)) return NULL;
    PyObject *found = NULL;
    Told told;
    const char *data = memory_of(tensor, &told);
    size_t at = 0, most = sizeof kinds / sizeof *kinds;
    while (data && at < most && (kinds[at].code != told.dtype.code || kinds[at].bits != told.dtype.bits)) at++;
    size_t bytes = data ? told.dtype.bits / 8u : 1;
    if (!data || at == most || (uintptr_t)data % bytes || told.dims > MOST || axis < 0 || axis >= told.dims) goto other;

    int64_t rows = axis ? told.shape[0] : 1, tokens = told.shape[axis], width = 1;
    int64_t sizes[2] = {1, 1}, steps[2] = {0, 1}; /* of the axes that are a token's own, outer and inner */
    for (int of = told.dims - 1, own = 1; of >= 0; of--) {
        if (of == axis || (axis && of == 0)) continue;
        if (own < 0) goto other;
        sizes[own] = told.shape[of], steps[own--] = told.strides[of];
        width *= told.shape[of];
    }
    if (rows * tokens * width <= 0 || weights.len < width * (int64_t)sizeof(float)) goto other;
    found = PyBytes_FromStringAndSize(NULL, rows * tokens * LANES * (int64_t)sizeof(float));
    if (!found) goto end;

    char *out = PyBytes_AS_STRING(found);
    PyThreadState *others = rows * tokens * width > LARGE ? PyEval_SaveThread() : NULL;
    if (steps[1] == 1 && steps[0] == sizes[1]) sizes[1] *= sizes[0], sizes[0] = 1; /* they are one run */
    for (int64_t row = 0; row < rows; row++)
        for (int64_t token = 0; token < tokens; token++) {
            const char *first = data + (size_t)bytes * (size_t)((axis ? row * told.strides[0] : 0) + token * told.strides[axis]);
            double lanes[LANES] = {0};
            for (int64_t outer = 0; outer < sizes[0]; outer++)
                kinds[at].add(first + (int64_t)bytes * outer * steps[0], sizes[1], steps[1], weights.buf,
                              outer * sizes[1], lanes);
            for (int lane = 0; lane < LANES; lane++, out += sizeof(float)) {
                float narrow = (float)lanes[lane];
                memcpy(out, &narrow, sizeof narrow);
            }
        }
    if (others) PyEval_RestoreThread(others);
    goto end;
other:
    found = Py_NewRef(Py_None);
end:
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
    return can_tell() ? PyModule_Create(&definition) : NULL;
#endif
}
