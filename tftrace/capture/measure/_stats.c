/* `summarize` of `stats.py` for what most tensors are, compiled: one run of memory on the host, whose numbers are all
   finite. Each number is read once. Of anything else it says None, and of sums that have lost too many digits: there
   `stats.py` is slower and knows better. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <string.h>

#include "_dlpack.h"

#if defined(__x86_64__) && defined(__GLIBC__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default"))) /* the loader takes what the processor has */
#else
#define WIDE
#endif

enum { LANES = 16 };      /* numbers side by side */
enum { PART = 1 << 12 };  /* numbers that are added up before their sum is added to the others' */
enum { LARGE = 1 << 16 }; /* numbers that take so long that other threads may run meanwhile */

static const double CANCELLED = 1e-5, VANISHING = 1e-275; /* as in `stats.py` */

typedef struct {
    double total, squares, low, high;
    int64_t zeros;
} Sums;

static float number_of(uint16_t half) { /* bfloat16 is half of a float32 */
    uint32_t whole = (uint32_t)half << 16;
    float number;
    memcpy(&number, &whole, sizeof number);
    return number;
}

#define TAKE(AT, NUMBER, TYPE)                                                                                         \
    {                                                                                                                  \
        TYPE x = NUMBER;                                                                                               \
        double wide = (double)x;                                                                                       \
        total[AT] += wide;                                                                                             \
        squares[AT] += wide * wide;                                                                                    \
        low[AT] = x < low[AT] ? x : low[AT];                                                                           \
        high[AT] = x > high[AT] ? x : high[AT];                                                                        \
        zeros[AT] += x == 0;                                                                                           \
    }

#define KERNEL(NAME, STORED, TYPE, LOAD)                                                                               \
    WIDE static void NAME##_part(const STORED *from, int64_t count, Sums *sums) {                                      \
        double total[LANES] = {0}, squares[LANES] = {0};                                                               \
        TYPE low[LANES], high[LANES];                                                                                  \
        int32_t zeros[LANES] = {0};                                                                                    \
        for (int at = 0; at < LANES; at++) low[at] = high[at] = LOAD(from[0]);                                         \
        for (; count >= LANES; count -= LANES, from += LANES)                                                          \
            _Pragma("GCC unroll 1") for (int at = 0; at < LANES; at++) TAKE(at, LOAD(from[at]), TYPE)                  \
        for (int at = 0; at < count; at++) TAKE(at, LOAD(from[at]), TYPE)                                              \
        double added = 0, squared = 0;                                                                                 \
        for (int at = 0; at < LANES; at++) {                                                                           \
            added += total[at];                                                                                        \
            squared += squares[at];                                                                                    \
            sums->low = (double)low[at] < sums->low ? (double)low[at] : sums->low;                                     \
            sums->high = (double)high[at] > sums->high ? (double)high[at] : sums->high;                                \
            sums->zeros += zeros[at];                                                                                  \
        }                                                                                                              \
        sums->total += added;                                                                                          \
        sums->squares += squared;                                                                                      \
    }                                                                                                                  \
    static void NAME(const void *data, int64_t count, Sums *sums) {                                                    \
        const STORED *from = data;                                                                                     \
        for (; count > 0; count -= PART, from += PART) NAME##_part(from, count < PART ? count : PART, sums);           \
    }

KERNEL(floats, float, float, )
KERNEL(doubles, double, double, )
KERNEL(halves, uint16_t, float, number_of)
KERNEL(bytes, int8_t, int8_t, )
KERNEL(whole_bytes, uint8_t, uint8_t, )
KERNEL(shorts, int16_t, int16_t, )
KERNEL(ints, int32_t, int32_t, )
KERNEL(longs, int64_t, int64_t, )

static const struct {
    uint8_t code, bits;
    void (*sums)(const void *data, int64_t count, Sums *sums);
} kinds[] = {
    {FLOAT, 32, floats}, {FLOAT, 64, doubles}, {BFLOAT, 16, halves}, {BOOL, 8, whole_bytes}, {UINT, 8, whole_bytes},
    {INT, 8, bytes}, {INT, 16, shorts}, {INT, 32, ints}, {INT, 64, longs},
};

/* How many numbers lie in one run; -1 if they do not. */
static int64_t run_of(const Told *told) {
    int64_t count = 1;
    for (int at = told->dims - 1; at >= 0; at--) {
        if (told->shape[at] != 1 && told->strides[at] != count) return -1;
        count *= told->shape[at];
    }
    return count;
}

/* The statistics of what lies at an address, or None. */
static PyObject *summary_at(const char *data, const Told *told) {
    size_t at = 0, most = sizeof kinds / sizeof *kinds;
    while (at < most && (kinds[at].code != told->dtype.code || kinds[at].bits != told->dtype.bits)) at++;
    int64_t count = at < most ? run_of(told) : 0;
    if (count <= 0) Py_RETURN_NONE;
    if ((uintptr_t)data % (told->dtype.bits / 8u)) Py_RETURN_NONE; /* in the middle of a number */

    Sums sums = {0, 0, INFINITY, -INFINITY, 0};
    PyThreadState *others = count > LARGE ? PyEval_SaveThread() : NULL;
    kinds[at].sums(data, count, &sums);
    if (others) PyEval_RestoreThread(others);

    double squares = sums.squares, mean = sums.total / (double)count, spread = squares - sums.total * mean;
    if (sums.low == sums.high && squares < INFINITY && (squares > VANISHING || sums.low == 0))
        mean = sums.low, spread = 0;
    else if (!(spread > CANCELLED * squares && CANCELLED * squares > VANISHING && squares < INFINITY))
        Py_RETURN_NONE; /* NaN and Inf, cancellation, overflow and underflow */
    return Py_BuildValue(
        "dddddiiL", mean, sqrt(spread / (double)count), sums.low, sums.high, sqrt(squares), 0, 0, (long long)sums.zeros);
}

static PyObject *summary(PyObject *self, PyObject *tensor) {
    Told told;
    const char *data = memory_of(tensor, &told);
    return data ? summary_at(data, &told) : Py_NewRef(Py_None);
}

static PyMethodDef methods[] = {
    {"summary", summary, METH_O, "See `summarize` in stats.py."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_stats", "Statistics of tensors.", -1, methods};

PyMODINIT_FUNC PyInit__stats(void) {
#if !defined(__GNUC__) || defined(__clang__)
    return PyErr_Format(PyExc_ImportError, "only GCC makes vectors of the lanes: with others numkong is quicker");
#else
    return can_tell() ? with_function(PyModule_Create(&definition), (void *)summary_at) : NULL;
#endif
}
