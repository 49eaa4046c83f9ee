/* What a tensor is, as torch tells it in one call: by DLPack's table for exchange in C, version 1. An older torch has
   none, and tftrace does then without what is compiled here. */

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

/* Look the table up; where there is none 0, with ImportError set. */
static int can_tell(void) {
    PyObject *torch = PyImport_ImportModule("torch");
    PyObject *tensor = torch ? PyObject_GetAttrString(torch, "Tensor") : NULL;
    PyObject *table = tensor ? PyObject_GetAttrString(tensor, "__dlpack_c_exchange_api__") : NULL;
    exchange = table ? PyCapsule_GetPointer(table, "dlpack_exchange_api") : NULL;
    Py_XDECREF(table);
    Py_XDECREF(tensor);
    Py_XDECREF(torch);
    if (exchange && exchange->version.major == 1 && exchange->tell) return 1;
    PyErr_SetString(PyExc_ImportError, "this torch has no table for exchange in C");
    return 0;
}
