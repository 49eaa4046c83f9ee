/* What a tensor is, as torch tells it in one call: by DLPack's table for exchange in C, version 1. An older torch has
   none, and tftrace does then without what is compiled here.

   An address is read only if `memory_of` gave it, as `address` of `memory.py` does where nothing is compiled. */

#include <stdint.h>

typedef struct {
    char *data;
    struct { int32_t type, number; } device;
    int32_t dims;
    struct { uint8_t code, bits; uint16_t lanes; } dtype;
    int64_t *shape, *strides;
    uint64_t offset;
} Told;
enum { HOST = 1 };                                     /* a type of device */
enum { INT, UINT, FLOAT, BFLOAT = 4, BOOL = 6 };       /* codes of dtypes */

static const struct {
    struct { uint32_t major, minor; } version;
    void *older, *allocate, *take, *give;
    int (*tell)(void *tensor, Told *told);
    void *stream;
} *exchange;

static PyObject *storage_name, *begin_name, *size_name;

/* What a method without arguments gives as a number; `ok` becomes 0 where it gives none. */
static uint64_t number_from(PyObject *object, PyObject *method, int *ok) {
    PyObject *found = PyObject_CallMethodNoArgs(object, method);
    uint64_t number = found ? PyLong_AsUnsignedLongLong(found) : 0;
    Py_XDECREF(found);
    if (PyErr_Occurred()) *ok = 0;
    return number;
}

/* Where the numbers of a tensor on the host begin in its storage; NULL, never with an error, if that is not there or does
   not hold all of them. */
static inline char *memory_in(PyObject *storage, const Told *told) {
    int ok = told->data != NULL;
    uint64_t first = number_from(storage, begin_name, &ok), size = ok ? number_from(storage, size_name, &ok) : 0;
    uint64_t begin = (uintptr_t)told->data + told->offset, last = 0;
    for (int at = 0; at < told->dims; at++) last += (uint64_t)((told->shape[at] - 1) * told->strides[at]);
    uint64_t span = (last + 1) * ((told->dtype.bits * told->dtype.lanes + 7u) / 8u);
    PyErr_Clear();
    return ok && first && first <= begin && begin + span <= first + size ? told->data + told->offset : NULL;
}

/* The same of any tensor, and what else it is; NULL also if torch cannot tell. */
static inline char *memory_of(PyObject *tensor, Told *told) {
    int ok = exchange->tell(tensor, told) == 0 && told->device.type == HOST && told->data;
    PyObject *storage = ok ? PyObject_CallMethodNoArgs(tensor, storage_name) : NULL;
    char *found = storage ? memory_in(storage, told) : NULL;
    Py_XDECREF(storage);
    PyErr_Clear();
    return found;
}

/* A module with a function in it that other files of C call, as `at`. */
static inline PyObject *with_function(PyObject *module, void *function) {
    PyObject *at = module ? PyCapsule_New(function, "tftrace", NULL) : NULL;
    if (module && (!at || PyModule_AddObjectRef(module, "at", at) < 0)) Py_CLEAR(module);
    Py_XDECREF(at);
    return module;
}

/* Such a function; NULL if there is none. */
static inline void *function_of(PyObject *at) { return at ? PyCapsule_GetPointer(at, "tftrace") : NULL; }

/* Look the table up; where there is none 0, with ImportError set. */
static int can_tell(void) {
    PyObject *torch = PyImport_ImportModule("torch");
    PyObject *tensor = torch ? PyObject_GetAttrString(torch, "Tensor") : NULL;
    PyObject *table = tensor ? PyObject_GetAttrString(tensor, "__dlpack_c_exchange_api__") : NULL;
    exchange = table ? PyCapsule_GetPointer(table, "dlpack_exchange_api") : NULL;
    Py_XDECREF(table);
    Py_XDECREF(tensor);
    Py_XDECREF(torch);
    storage_name = PyUnicode_InternFromString("untyped_storage");
    begin_name = PyUnicode_InternFromString("data_ptr");
    size_name = PyUnicode_InternFromString("nbytes");
    if (!storage_name || !begin_name || !size_name) return 0;
    if (exchange && exchange->version.major == 1 && exchange->tell) return 1;
    PyErr_SetString(PyExc_ImportError, "this torch has no table for exchange in C");
    return 0;
}
