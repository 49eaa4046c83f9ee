/* What plain references find on a call, and whether that is what it was: `_addresses` in `route.py`. */

#include <stdint.h>

#include "_dlpack.h"
#include "_slots.h"

enum { ARGUMENT, RESULT, ITEM, PARAMETER, ATTRIBUTE };        /* as in `references.py` */
enum { CHILD, NUMBER, WHAT, KEY, KIND, FORM, VALUE, FIELDS }; /* of an item; see `Item` in `route.py` */
enum { VERSION = 1, NEGATIVE = 6 };                           /* of a view */
enum { SIGN, CODE, BITS, DIMS, SIZES }; /* of what is settled of a tensor: numbers, then its sizes and strides */
enum { MOST_TOLD = 16 };

#define OF_CALL(X)                                                                                                     \
    X(place)                                                                                                           \
    X(step)                                                                                                            \
    X(parent)                                                                                                          \
    X(owner) X(arguments) X(result) X(equations) X(known) X(given) X(returned) X(seen) X(wanted) X(edited) X(attends)  \
        X(direct)
static struct {
    PyTypeObject *type;
    OF_CALL(AS_PLACE)
} of_call;
static const char *const call_slots[] = {OF_CALL(AS_TEXT) NULL};

static struct {
    PyObject *is_neg, *modules, *parameters, *version;
} names;
static PyTypeObject *module_type; /* torch.nn.Module */

/* An item; its objects are the tuple's. Of a tensor, `value` says what it is; else NULL if any value will do. */
typedef struct {
    PyObject *child, *key, *kind, *value;
    Py_ssize_t number;
    int what, is_tensor;
} Item;

/* Tensors of this call whose memory was looked at, which something of the call keeps. */
typedef struct {
    Py_ssize_t count;
    struct {
        PyObject *tensor;
        char *begins;
        Told told;
    } each[MOST_TOLD];
} Looked;

static int item_of_tuple(PyObject *tuple, Item *item) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != FIELDS) {
        PyErr_SetString(PyExc_TypeError, "an item has other fields");
        return -1;
    }
    PyObject **fields = &PyTuple_GET_ITEM(tuple, 0);
    item->child = fields[CHILD] == Py_None ? NULL : fields[CHILD];
    item->number = PyLong_AsSsize_t(fields[NUMBER]);
    item->what = (int)PyLong_AsLong(fields[WHAT]);
    item->key = fields[KEY], item->kind = fields[KIND];
    item->is_tensor = fields[FORM] != Py_None;
    item->value = fields[VALUE] == Py_None ? NULL : fields[VALUE];
    return PyErr_Occurred() ? -1 : 0;
}

/* All that returns an object returns one that the caller owns, or NULL: with an error set, or without where there is
   none. Whatever answers a question says 1, 0, or -1 with an error set. */

static PyObject *entry(PyObject *dict, PyObject *key) {
    return dict && PyDict_Check(dict) ? Py_XNewRef(PyDict_GetItemWithError(dict, key)) : NULL;
}

static PyObject *entry_of(PyObject *object, PyObject *name, PyObject *key) {
    PyObject *dict = PyObject_GetAttr(object, name), *found = entry(dict, key);
    Py_XDECREF(dict);
    return found;
}

static int equal(PyObject *one, PyObject *two) { return one == two ? 1 : PyObject_RichCompareBool(one, two, Py_EQ); }

/* Whether a method gives this. */
static int gives(PyObject *object, PyObject *method, PyObject *wanted) {
    PyObject *found = PyObject_CallMethodNoArgs(object, method);
    int same = found ? equal(found, wanted) : -1;
    Py_XDECREF(found);
    return same;
}

/* The call that an item is about, borrowed. */
static PyObject *call_of(PyObject *call, const Item *item) {
    if (!item->child) return call;
    PyObject *seen = SLOT(call, of_call.seen);
    PyObject *calls = PyDict_Check(seen) ? PyDict_GetItemWithError(seen, item->child) : NULL;
    if (!calls || !PyList_Check(calls)) return NULL;
    Py_ssize_t size = PyList_GET_SIZE(calls), at = item->number < 0 ? item->number + size : item->number;
    PyObject *found = at >= 0 && at < size ? PyList_GET_ITEM(calls, at) : NULL;
    return found && Py_TYPE(found) == of_call.type ? found : NULL;
}

static PyObject *parameter(PyObject *owner, PyObject *path) {
    Py_ssize_t last = PyTuple_GET_SIZE(path) - 1;
    Py_INCREF(owner);
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
    PyObject *own = PyObject_GenericGetDict(owner, NULL), *found = NULL;
    if (own) found = entry(own, name);
    else PyErr_Clear(); /* it has none */
    Py_XDECREF(own);
    return found;
}

static PyObject *item_of(PyObject *group, PyObject *key) {
    Py_ssize_t at = PyLong_AsSsize_t(key);
    if (PyTuple_CheckExact(group) && at < PyTuple_GET_SIZE(group)) return Py_NewRef(PyTuple_GET_ITEM(group, at));
    if (PyList_CheckExact(group) && at < PyList_GET_SIZE(group)) return Py_NewRef(PyList_GET_ITEM(group, at));
    return NULL;
}

static PyObject *found_at(PyObject *at, const Item *item) {
    switch (item->what) {
    case RESULT: return Py_NewRef(SLOT(at, of_call.result));
    case ARGUMENT: return entry(SLOT(at, of_call.arguments), item->key);
    case PARAMETER: return parameter(SLOT(at, of_call.owner), item->key);
    case ATTRIBUTE: return attribute(SLOT(at, of_call.owner), item->key);
    default: return item_of(SLOT(at, of_call.result), item->key);
    }
}

/* Where a tensor on the host begins, if it is as it was settled; NULL if not. */
static char *address_of(PyObject *tensor, const int64_t *settled, Looked *looked) {
    Told new, *told = &new;
    char *begins = NULL;
    Py_ssize_t at = 0, count = looked ? looked->count : 0;
    while (at < count && looked->each[at].tensor != tensor) at++;
    if (at < count) told = &looked->each[at].told, begins = looked->each[at].begins;
    else begins = memory_of(tensor, told);
    if (at == count && begins && looked && count < MOST_TOLD) {
        looked->each[at].tensor = tensor, looked->each[at].begins = begins, looked->each[at].told = new;
        looked->count++;
    }
    if (!begins || told->dtype.code != settled[CODE] || told->dtype.bits != settled[BITS] ||
        told->dims != settled[DIMS])
        return NULL;
    size_t bytes = told->dims * sizeof *settled;
    if (memcmp(told->shape, settled + SIZES, bytes) || memcmp(told->strides, settled + SIZES + told->dims, bytes))
        return NULL;
    return begins;
}

/* Whether a tensor is of the version of its view, and of that which it had when the call began. */
static int untouched(PyObject *tensor, PyObject *view, PyObject *call, PyObject *id) {
    PyObject *version = PyObject_GetAttr(tensor, names.version), *given = SLOT(call, of_call.given);
    if (!version) return -1;
    int same = equal(version, PyTuple_GET_ITEM(view, VERSION));
    if (same == 1 && PyDict_Check(given)) {
        PyObject *before = PyDict_GetItemWithError(given, id);
        if (before) same = before == view ? 1 : equal(version, PyTuple_GET_ITEM(before, VERSION));
        else if (PyErr_Occurred()) same = -1;
    }
    Py_DECREF(version);
    return same;
}

/* Whether it has the sign that was settled, and was not written to before the call ended. */
static int unchanged(PyObject *tensor, int negative, int what, PyObject *call, PyObject *at) {
    PyObject *view = NULL, *sign = negative ? Py_True : Py_False, *id = NULL;
    if (what != PARAMETER) {
        PyObject *noted = SLOT(at, what == ARGUMENT ? of_call.given : of_call.returned);
        if (!(id = PyLong_FromVoidPtr(tensor))) return -1;
        view = PyDict_Check(noted) ? PyDict_GetItemWithError(noted, id) : NULL;
    }
    int same = PyErr_Occurred() ? -1 : 1;
    if (same == 1 && !view) same = gives(tensor, names.is_neg, sign);
    else if (same == 1) {
        same = PyTuple_GET_ITEM(view, NEGATIVE) == sign;
        if (same == 1 && !(what == RESULT && at == call)) same = untouched(tensor, view, call, id);
    }
    Py_XDECREF(id);
    return same;
}

/* Whether what an item asks for is what it was; of a tensor, the address is put at `*to`, which moves on. */
static int same_item(const Item *item, PyObject *call, Looked *looked, char ***to) {
    PyObject *at = call_of(call, item), *found = at ? found_at(at, item) : NULL;
    int same = PyErr_Occurred() ? -1 : 1;
    if (same == 1 && !found) found = Py_NewRef(Py_None);
    if (same == 1) same = (PyObject *)Py_TYPE(found) == item->kind;
    if (same == 1 && item->is_tensor) {
        const int64_t *settled =
            item->value && PyBytes_Check(item->value) ? (void *)PyBytes_AS_STRING(item->value) : NULL;
        same = settled ? unchanged(found, settled[SIGN] != 0, item->what, call, at) : 0;
        char *begins = same == 1 ? address_of(found, settled, looked) : NULL;
        if (same == 1) same = begins != NULL;
        if (same == 1) *(*to)++ = begins;
    } else if (same == 1 && item->value) same = equal(found, item->value);
    Py_XDECREF(found);
    return same;
}
