/* The two loops of `route.py` that run for each tensor of each check, compiled.

They do what `_addresses` and `_copy` there do, and a test runs both. What costs time in a check is not what is computed
but how much code and data have to come back into the caches after a product of matrices: hence these few lines, for
which nothing of the interpreter and of NumPy is needed. Where there is no compiler, tftrace does without. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_dlpack.h"

enum { ARGUMENT, RESULT, ITEM, PARAMETER, ATTRIBUTE };              /* as in `references.py` */
enum { CHILD, NUMBER, WHAT, KEY, KIND, FORM, VALUE, FIELDS };       /* of an item */
enum { VERSION = 1, NEGATIVE = 6 };                                 /* of a view */
enum { MOST = 64 };                                                 /* dimensions; `_MOST_DIMS` in `route.py` */

static struct {
    PyObject *arguments, *given, *is_neg, *modules, *owner, *parameters, *result, *returned, *seen, *version;
} names;
static PyTypeObject *module_type; /* torch.nn.Module */

enum { SIGN, CODE, BITS, DIMS, SIZES }; /* of what is settled of a tensor: numbers, then its sizes and strides */

/* -- addresses -------------------------------------------------------------------------------------------------- */

/* All that returns an object returns one that the caller owns, or NULL: with an error set, or without where there is
   none. Whatever answers a question says 1, 0, or -1 with an error set. */

static PyObject *entry(PyObject *dict, PyObject *key) {
    if (!dict || !PyDict_Check(dict)) return NULL;
    PyObject *found = PyDict_GetItemWithError(dict, key);
    Py_XINCREF(found);
    return found;
}

static PyObject *entry_of(PyObject *object, PyObject *name, PyObject *key) {
    PyObject *dict = PyObject_GetAttr(object, name), *found = entry(dict, key);
    Py_XDECREF(dict);
    return found;
}

static int equal(PyObject *one, PyObject *two) { return one == two ? 1 : PyObject_RichCompareBool(one, two, Py_EQ); }

/* Whether an attribute, or what a method gives, is this; the reference to `found` is taken. */
static int is(PyObject *found, PyObject *wanted) {
    if (!found) return -1;
    int same = equal(found, wanted);
    Py_DECREF(found);
    return same;
}

static PyObject *call_of(PyObject *call, PyObject *child, PyObject *number) {
    if (child == Py_None) return Py_NewRef(call);
    PyObject *calls = entry_of(call, names.seen, child), *found = NULL;
    if (calls && PyList_Check(calls)) {
        Py_ssize_t at = PyLong_AsSsize_t(number), size = PyList_GET_SIZE(calls);
        if (at < 0) at += size;
        if (at >= 0 && at < size) found = Py_NewRef(PyList_GET_ITEM(calls, at));
    }
    Py_XDECREF(calls);
    return found;
}

static PyObject *parameter(PyObject *owner, PyObject *path) {
    Py_ssize_t last = PyTuple_GET_SIZE(path) - 1;
    for (Py_ssize_t at = 0; owner; at++) {
        PyObject *found = NULL;
        if (PyObject_TypeCheck(owner, module_type))
            found = entry_of(owner, at == last ? names.parameters : names.modules, PyTuple_GET_ITEM(path, at));
        Py_DECREF(owner);
        if (at == last) return found;
        owner = found;
    }
    return NULL;
}

static PyObject *attribute(PyObject *owner, PyObject *name) {
    if (!owner) return NULL;
    PyObject *own = PyObject_GenericGetDict(owner, NULL), *found = NULL;
    if (own)
        found = entry(own, name);
    else
        PyErr_Clear(); /* it has none */
    Py_XDECREF(own);
    Py_DECREF(owner);
    return found;
}

static PyObject *item_of(PyObject *group, PyObject *key) {
    if (!group) return NULL;
    Py_ssize_t at = PyLong_AsSsize_t(key);
    PyObject *found = NULL;
    if (PyTuple_CheckExact(group) && at < PyTuple_GET_SIZE(group)) found = Py_NewRef(PyTuple_GET_ITEM(group, at));
    if (PyList_CheckExact(group) && at < PyList_GET_SIZE(group)) found = Py_NewRef(PyList_GET_ITEM(group, at));
    Py_DECREF(group);
    return found;
}

static PyObject *found_at(PyObject *at, long what, PyObject *key) {
    switch (what) {
    case RESULT: return PyObject_GetAttr(at, names.result);
    case ARGUMENT: return entry_of(at, names.arguments, key);
    case PARAMETER: return parameter(PyObject_GetAttr(at, names.owner), key);
    case ATTRIBUTE: return attribute(PyObject_GetAttr(at, names.owner), key);
    default: return item_of(PyObject_GetAttr(at, names.result), key);
    }
}

/* Where a tensor on the host begins, if it is as it was settled; NULL if not. */
static char *address_of(PyObject *tensor, const int64_t *settled) {
    Told told;
    char *begins = memory_of(tensor, &told);
    if (!begins || told.dtype.code != settled[CODE] || told.dtype.bits != settled[BITS] ||
        told.dims != settled[DIMS])
        return NULL;
    size_t bytes = told.dims * sizeof *settled;
    if (memcmp(told.shape, settled + SIZES, bytes) || memcmp(told.strides, settled + SIZES + told.dims, bytes))
        return NULL;
    return begins;
}

/* Whether a tensor is of the version of its view, and of that which it had when the call began. */
static int untouched(PyObject *tensor, PyObject *view, PyObject *call, PyObject *id) {
    PyObject *version = PyObject_GetAttr(tensor, names.version);
    if (!version) return -1;
    int same = equal(version, PyTuple_GET_ITEM(view, VERSION));
    if (same == 1) {
        PyObject *before = entry_of(call, names.given, id);
        if (before) same = equal(version, PyTuple_GET_ITEM(before, VERSION));
        else if (PyErr_Occurred()) same = -1;
        Py_XDECREF(before);
    }
    Py_DECREF(version);
    return same;
}

/* Whether it has the sign that was settled, and was not written to before the call ended. */
static int unchanged(PyObject *tensor, int negative, long what, PyObject *call, PyObject *at) {
    PyObject *id = PyLong_FromVoidPtr(tensor), *view = NULL, *sign = negative ? Py_True : Py_False;
    if (!id) return -1;
    if (what != PARAMETER) view = entry_of(at, what == ARGUMENT ? names.given : names.returned, id);
    int same = PyErr_Occurred() ? -1 : 1;
    if (same == 1 && !view) same = is(PyObject_CallMethodNoArgs(tensor, names.is_neg), sign);
    else if (same == 1) {
        same = PyTuple_GET_ITEM(view, NEGATIVE) == sign;
        if (same == 1 && !(what == RESULT && at == call)) same = untouched(tensor, view, call, id);
    }
    Py_XDECREF(view);
    Py_DECREF(id);
    return same;
}

/* Whether a tensor is what was settled; its address is put at the end of a list. */
static int same_tensor(PyObject *tensor, PyObject *settled, long what, PyObject *call, PyObject *at, PyObject *list) {
    if (!PyBytes_Check(settled)) return 0;
    const int64_t *numbers = (const int64_t *)PyBytes_AS_STRING(settled);
    int same = unchanged(tensor, numbers[SIGN] != 0, what, call, at);
    char *begins = same == 1 ? address_of(tensor, numbers) : NULL;
    if (!begins) return same < 0 ? -1 : 0;
    PyObject *address = PyLong_FromVoidPtr(begins);
    same = address && PyList_Append(list, address) == 0 ? 1 : -1;
    Py_XDECREF(address);
    return same;
}

/* Whether what an item asks for is what it was. */
static int same_item(PyObject *item, PyObject *call, PyObject *addresses) {
    PyObject *at = call_of(call, PyTuple_GET_ITEM(item, CHILD), PyTuple_GET_ITEM(item, NUMBER)), *found = NULL;
    PyObject *value = PyTuple_GET_ITEM(item, VALUE);
    long what = PyLong_AsLong(PyTuple_GET_ITEM(item, WHAT));
    if (at) found = found_at(at, what, PyTuple_GET_ITEM(item, KEY));
    int same = PyErr_Occurred() ? -1 : 1;
    if (same == 1 && !found) found = Py_NewRef(Py_None);
    if (same == 1) same = (PyObject *)Py_TYPE(found) == PyTuple_GET_ITEM(item, KIND);
    if (same == 1 && PyTuple_GET_ITEM(item, FORM) != Py_None)
        same = same_tensor(found, value, what, call, at, addresses);
    else if (same == 1 && value != Py_None)
        same = equal(found, value);
    Py_XDECREF(found);
    Py_XDECREF(at);
    return same;
}

static PyObject *addresses(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyList_Check(given[0])) return PyErr_Format(PyExc_TypeError, "addresses(items, call)");
    PyObject *found = PyList_New(0);
    int same = found ? 1 : -1;
    for (Py_ssize_t at = 0; same == 1 && at < PyList_GET_SIZE(given[0]); at++) {
        PyObject *item = PyList_GET_ITEM(given[0], at);
        if (!PyTuple_Check(item) || PyTuple_GET_SIZE(item) != FIELDS) {
            PyErr_SetString(PyExc_TypeError, "an item has other fields");
            same = -1;
        } else
            same = same_item(item, given[1], found);
    }
    if (same == 1) return found;
    Py_XDECREF(found);
    if (same == 0) Py_RETURN_NONE;
    return NULL;
}

static PyObject *settle(PyObject *self, PyObject *tensor) {
    Told told;
    if (exchange->tell(tensor, &told) < 0) return NULL;
    int negative = is(PyObject_CallMethodNoArgs(tensor, names.is_neg), Py_True);
    if (negative < 0) return NULL;
    PyObject *found = PyBytes_FromStringAndSize(NULL, (SIZES + 2 * told.dims) * sizeof(int64_t));
    if (!found) return NULL;
    int64_t *numbers = (int64_t *)PyBytes_AS_STRING(found);
    numbers[SIGN] = negative, numbers[CODE] = told.dtype.code, numbers[BITS] = told.dtype.bits, numbers[DIMS] = told.dims;
    memcpy(numbers + SIZES, told.shape, told.dims * sizeof *numbers);
    memcpy(numbers + SIZES + told.dims, told.strides, told.dims * sizeof *numbers);
    return found;
}

/* -- copy ------------------------------------------------------------------------------------------------------- */

/* Copies elements that lie `step` bytes apart to where they lie close; bfloat16 becomes the float32 it is half of. */
static char *row_of(char *to, const char *from, int64_t count, int64_t step, int64_t width, int half) {
    if (half) {
        for (int64_t at = 0; at < count; at++, from += step, to += 4) {
            uint16_t bits;
            memcpy(&bits, from, 2);
            uint32_t whole = (uint32_t)bits << 16;
            memcpy(to, &whole, 4);
        }
        return to;
    }
    if (step == width) {
        memcpy(to, from, count * width);
        return to + count * width;
    }
    for (int64_t at = 0; at < count; at++, from += step, to += width) {
        if (width == 4) memcpy(to, from, 4); /* of a known width it is one move */
        else if (width == 8) memcpy(to, from, 8);
        else memcpy(to, from, width);
    }
    return to;
}

static PyObject *copy(PyObject *self, PyObject *const *given, Py_ssize_t count) {
    /* layout, addresses, seed, bases, row */
    if (count != 5 || !PyBytes_Check(given[0]) || !PyList_Check(given[1]) || !PyList_Check(given[3]))
        return PyErr_Format(PyExc_TypeError, "copy(layout, addresses, seed, bases, row)");
    const int64_t *layout = (const int64_t *)PyBytes_AS_STRING(given[0]);
    uint64_t seed = PyLong_AsUnsignedLongLongMask(given[2]);
    int64_t row = PyLong_AsLongLong(given[4]), starts[MOST], rooms = *layout++;
    if (rooms > MOST) return PyErr_Format(PyExc_IndexError, "too many dimensions are drawn");
    for (int64_t at = 0; at < rooms; at++) { /* as in `Reading.starts` */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        starts[at] = (seed >> 33) % (uint64_t)*layout++;
    }
    for (int64_t column = 0, columns = *layout++; column < columns && !PyErr_Occurred(); column++) {
        int64_t tensor = *layout++, width = *layout++, half = *layout++, bytes = *layout++;
        if (tensor >= PyList_GET_SIZE(given[1]) || column >= PyList_GET_SIZE(given[3]))
            return PyErr_Format(PyExc_IndexError, "the layout is of another call");
        const char *from = PyLong_AsVoidPtr(PyList_GET_ITEM(given[1], tensor));
        char *to = (char *)PyLong_AsVoidPtr(PyList_GET_ITEM(given[3], column)) + row * bytes;
        for (int64_t drawn = *layout++; drawn > 0; drawn--, layout += 2) from += starts[layout[0]] * layout[1];
        int64_t dims = *layout++, at[MOST] = {0};
        if (dims > MOST) return PyErr_Format(PyExc_IndexError, "a tensor has too many dimensions");
        const int64_t *sizes = layout, *steps = layout + dims; /* one dimension at least */
        layout += 2 * dims;
        for (int64_t dim = 0; dim >= 0 && !PyErr_Occurred();) {
            to = row_of(to, from, sizes[dims - 1], steps[dims - 1], width, half);
            for (dim = dims - 2; dim >= 0; dim--) { /* the next row */
                from += steps[dim];
                if (++at[dim] < sizes[dim]) break;
                from -= sizes[dim] * steps[dim];
                at[dim] = 0;
            }
        }
    }
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

/* -- the module ------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"addresses", (PyCFunction)(void (*)(void))addresses, METH_FASTCALL, "See `_addresses` in route.py."},
    {"settle", settle, METH_O, "What is asked of a tensor later; RuntimeError where torch cannot tell."},
    {"copy", (PyCFunction)(void (*)(void))copy, METH_FASTCALL, "See `Route.copy` in route.py."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_route", "The hot loops of route.py.", -1, methods};

PyMODINIT_FUNC PyInit__route(void) {
    struct { PyObject **name; const char *text; } all[] = {
        {&names.arguments, "arguments"}, {&names.given, "given"}, {&names.is_neg, "is_neg"},
        {&names.owner, "owner"}, {&names.result, "result"}, {&names.returned, "returned"}, {&names.seen, "seen"},
    }, private[] = {{&names.modules, "MODULES"}, {&names.parameters, "PARAMETERS"}, {&names.version, "VERSION"}};
    for (size_t at = 0; at < sizeof all / sizeof *all; at++)
        if (!(*all[at].name = PyUnicode_InternFromString(all[at].text))) return NULL;
    PyObject *internals = PyImport_ImportModule("tftrace.capture.torch_internals");
    if (!internals) return NULL;
    for (size_t at = 0; at < sizeof private / sizeof *private; at++) {
        if (!(*private[at].name = PyObject_GetAttrString(internals, private[at].text))) return NULL;
        PyUnicode_InternInPlace(private[at].name);
    }
    Py_DECREF(internals);
    PyObject *nn = PyImport_ImportModule("torch.nn");
    module_type = nn ? (PyTypeObject *)PyObject_GetAttrString(nn, "Module") : NULL;
    Py_XDECREF(nn);
    return module_type && can_tell() ? PyModule_Create(&definition) : NULL;
}
