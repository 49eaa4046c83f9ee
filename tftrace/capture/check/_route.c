/* What runs for each tensor of each check, and what a call like one before needs for its checks, compiled.

`addresses` and `copy` do what `_addresses` and `Route.copy` in `route.py` do, `Checks` what `Finder.begin` and
`Checker.finish` do; tests run both. What costs time in a check is not what is computed but how much code and data have
to come back into the caches after a product of matrices: hence these lines, for which little of the interpreter and
nothing of NumPy is needed. Where there is no compiler, tftrace does without. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_checks.h"

static PyObject *addresses(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyList_Check(given[0])) return PyErr_Format(PyExc_TypeError, "addresses(items, call)");
    if (Py_TYPE(given[1]) != of_call.type) Py_RETURN_NONE; /* of a module that was imported twice */
    PyObject *found = PyList_New(0);
    int same = found ? 1 : -1;
    for (Py_ssize_t at = 0; same == 1 && at < PyList_GET_SIZE(given[0]); at++) {
        char *begins[1], **to = begins;
        Item item;
        same = item_of_tuple(PyList_GET_ITEM(given[0], at), &item) < 0 ? -1 : same_item(&item, given[1], NULL, &to);
        PyObject *address = same == 1 && to != begins ? PyLong_FromVoidPtr(*begins) : NULL;
        if (address && PyList_Append(found, address) < 0) same = -1;
        Py_XDECREF(address);
        if (PyErr_Occurred()) same = -1;
    }
    if (same == 1) return found;
    Py_XDECREF(found);
    if (same == 0) Py_RETURN_NONE;
    return NULL;
}

static PyObject *settle(PyObject *self, PyObject *tensor) {
    Told told;
    if (exchange->tell(tensor, &told) < 0) return NULL;
    int negative = gives(tensor, names.is_neg, Py_True);
    if (negative < 0) return NULL;
    PyObject *found = PyBytes_FromStringAndSize(NULL, (SIZES + 2 * told.dims) * sizeof(int64_t));
    if (!found) return NULL;
    int64_t *numbers = (int64_t *)PyBytes_AS_STRING(found);
    numbers[SIGN] = negative, numbers[CODE] = told.dtype.code, numbers[BITS] = told.dtype.bits,
    numbers[DIMS] = told.dims;
    memcpy(numbers + SIZES, told.shape, told.dims * sizeof *numbers);
    memcpy(numbers + SIZES + told.dims, told.strides, told.dims * sizeof *numbers);
    return found;
}

static PyObject *copy(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    /* layout, addresses, seed, bases, row */
    if (count != 5 || !PyBytes_Check(given[0]) || !PyList_Check(given[1]) || !PyList_Check(given[3]))
        return PyErr_Format(PyExc_TypeError, "copy(layout, addresses, seed, bases, row)");
    Py_ssize_t tensors = PyList_GET_SIZE(given[1]);
    char **begins = PyMem_Malloc((tensors + 1) * sizeof *begins);
    if (!begins) return PyErr_NoMemory();
    for (Py_ssize_t at = 0; at < tensors; at++) begins[at] = PyLong_AsVoidPtr(PyList_GET_ITEM(given[1], at));
    uint64_t seed = PyLong_AsUnsignedLongLongMask(given[2]);
    int64_t row = PyLong_AsLongLong(given[4]);
    const int64_t *layout = (void *)PyBytes_AS_STRING(given[0]);
    int copied = PyErr_Occurred() ? -1 : copy_cells(layout, begins, tensors, seed, given[3], row);
    PyMem_Free(begins);
    return copied < 0 ? NULL : PyBool_FromLong(copied);
}

/* -- what checks the calls of a recording ----------------------------------------------------------------------- */

#define AS_CHECKS_PART(NAME) {#NAME, offsetof(Checks, NAME)},
static const Part parts_of_checks[] = {OF_CHECKS(AS_CHECKS_PART){NULL}};

/* Checks(**parts): all that is named above. */
static PyObject *made_checks(PyTypeObject *type, PyObject *args, PyObject *given) {
    return put_together(type->tp_alloc(type, 0), parts_of_checks, given);
}

COLLECTED(checks, parts_of_checks)

static PyMethodDef of_checks[] = {
    {"begin", (PyCFunction)begin_check, METH_O, "See `Checker.begin`."},
    {"finish", (PyCFunction)finish_check, METH_O, "See `Checker.finish`."},
    {"follow", (PyCFunction)(void (*)(void))follow, METH_FASTCALL, "Check equations; which one Python has to."},
    {NULL},
};
static PyTypeObject checks_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tftrace.capture.check._route.Checks",
    .tp_basicsize = sizeof(Checks),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = made_checks,
    .tp_dealloc = gone_checks,
    .tp_traverse = visited_checks,
    .tp_clear = cleared_checks,
    .tp_methods = of_checks,
};

/* -- the module ------------------------------------------------------------------------------------------------- */

static PyObject *bind(PyObject *self, PyObject *args) {
    PyObject *call, *group, *known;
    if (!PyArg_ParseTuple(args, "O!O!O!", &PyType_Type, &call, &PyType_Type, &group, &PyType_Type, &known) ||
        !find_slots(&of_call.type, call, call_slots) || !find_slots(&of_group.type, group, group_slots) ||
        !find_slots(&of_known.type, known, known_slots))
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"addresses", (PyCFunction)(void (*)(void))addresses, METH_FASTCALL, "See `_addresses` in route.py."},
    {"settle", settle, METH_O, "What is asked of a tensor later; RuntimeError where torch cannot tell."},
    {"copy", (PyCFunction)(void (*)(void))copy, METH_FASTCALL, "See `Route.copy` in route.py."},
    {"bind", bind, METH_VARARGS, "bind(Call, Group, Known): look up where the attributes of these classes lie."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_route", "The hot loops of checks.", -1, methods};

/* What a module has under a name; NULL with an error. */
static PyObject *from_module(const char *module, const char *name) {
    PyObject *found = PyImport_ImportModule(module), *one = found ? PyObject_GetAttrString(found, name) : NULL;
    Py_XDECREF(found);
    return one;
}

static int find_names(void) {
    struct {
        PyObject **name;
        const char *text;
    } private[] = {{&names.modules, "MODULES"}, {&names.parameters, "PARAMETERS"}, {&names.version, "VERSION"}};
    for (size_t at = 0; at < sizeof private / sizeof *private; at++) {
        if (!(*private[at].name = from_module("tftrace.capture.torch_internals", private[at].text))) return 0;
        PyUnicode_InternInPlace(private[at].name);
    }
    for (size_t at = 0; at < sizeof words / sizeof *words; at++)
        if (!(*words[at].word = PyUnicode_InternFromString(words[at].text))) return 0;
    return (names.is_neg = PyUnicode_InternFromString("is_neg")) != NULL;
}

static int find_types(void) {
    PyObject *call = from_module("tftrace.capture.calls", "Call");
    int fine = call && find_slots(&of_call.type, call, call_slots);
    Py_XDECREF(call);
    return fine && (module_type = (PyTypeObject *)from_module("torch.nn", "Module")) &&
           (tensor_type = (PyTypeObject *)from_module("torch", "Tensor")) &&
           (parameter_type = (PyTypeObject *)from_module("torch.nn", "Parameter"));
}

PyMODINIT_FUNC PyInit__route(void) {
    if (!can_tell() || !find_names() || !find_types() || PyType_Ready(&plan_type) < 0 || PyType_Ready(&checks_type) < 0)
        return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && (PyModule_AddObjectRef(module, "Plan", (PyObject *)&plan_type) < 0 ||
                   PyModule_AddObjectRef(module, "Checks", (PyObject *)&checks_type) < 0))
        Py_CLEAR(module);
    return module;
}
