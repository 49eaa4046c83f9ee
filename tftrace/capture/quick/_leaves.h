/* The tensors inside what a model passes around: `leaves` of `structure.py`, for lists, tuples and caches of keys and
   values, which each block of a model is given anew. Python looks into all else. */

#include "_names.h"
#include "_records.h"

enum { NOTHING, SEQUENCE, CACHE = 5, MOST_DEEP = 8 }; /* as in `structure.py` */

typedef struct {
    PyObject *kind_of, *found;                 /* what a class holds; paths and tensors, one after the other */
    PyObject *within[MOST_DEEP + 1], *already; /* what holds the value; a class whose kind was asked last */
    long kind;
    int deep;
} Walk;

static int walk_into(Walk *walk, PyObject *value, PyObject *path);

/* What a class of values holds; -1 with an error. */
static long kind_of(Walk *walk, PyObject *type) {
    if (type == walk->already) return walk->kind;
    PyObject *kind = PyObject_CallOneArg(walk->kind_of, type);
    walk->kind = kind ? PyLong_AsLong(kind) : -1;
    walk->already = walk->kind < 0 ? NULL : type;
    Py_XDECREF(kind);
    return walk->kind;
}

/* Walk into an item of a value; the reference to its path is taken. */
static int walk_item(Walk *walk, PyObject *item, PyObject *path) {
    int fine = path ? walk_into(walk, item, path) : 0;
    Py_XDECREF(path);
    return fine;
}

static int walk_sequence(Walk *walk, PyObject *value, PyObject *path) {
    int fine = PyList_CheckExact(value) || PyTuple_CheckExact(value);
    for (Py_ssize_t at = 0; fine && at < PySequence_Fast_GET_SIZE(value); at++) {
        PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(value, at)); /* another thread may take it out */
        if (item != Py_None) fine = walk_item(walk, item, PyUnicode_FromFormat("%U[%zd]", path, at));
        Py_DECREF(item);
    }
    return fine;
}

/* Whether a value is of a kind that is no tensor, list or cache for sure. */
static int is_aside(PyObject *value) {
    return value == Py_None || PyBool_Check(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
           PyUnicode_CheckExact(value) || PyDict_CheckExact(value) || PyTuple_CheckExact(value);
}

/* Of a cache, or a layer of one: tensors, lists and caches among its attributes. */
static int walk_cache(Walk *walk, PyObject *value, PyObject *path) {
    PyObject *own = PyObject_GenericGetDict(value, NULL), *items = own ? PyDict_Copy(own) : NULL, *name, *item;
    int fine = items != NULL;
    for (Py_ssize_t at = 0; fine && PyDict_Next(items, &at, &name, &item);) {
        if (is_aside(item)) continue;
        if (!is_plain(item) && !PyList_CheckExact(item)) {
            long kind = PyObject_TypeCheck(item, tensor_type) ? -1 : kind_of(walk, (PyObject *)Py_TYPE(item));
            if (kind == NOTHING) continue;
            if (kind != CACHE) fine = 0;
        }
        if (fine)
            fine =
                walk_item(walk, item,
                          PyUnicode_GET_LENGTH(path) ? PyUnicode_FromFormat("%U.%S", path, name) : PyObject_Str(name));
    }
    Py_XDECREF(items);
    Py_XDECREF(own);
    return fine;
}

/* Note the tensors in a value; 0 if Python has to, perhaps with an error. */
static int walk_into(Walk *walk, PyObject *value, PyObject *path) {
    if (is_plain(value)) return PyList_Append(walk->found, path) == 0 && PyList_Append(walk->found, value) == 0;
    if (PyObject_TypeCheck(value, tensor_type)) return 0;
    long kind = kind_of(walk, (PyObject *)Py_TYPE(value));
    for (int at = 0; at < walk->deep; at++)
        if (walk->within[at] == value) return 0; /* it holds itself */
    if (kind == NOTHING) return 1;
    if (walk->deep > MOST_DEEP || (kind != SEQUENCE && kind != CACHE)) return 0;
    walk->within[walk->deep++] = value;
    int fine = kind == SEQUENCE ? walk_sequence(walk, value, path) : walk_cache(walk, value, path);
    walk->deep--;
    return fine;
}

/* The paths and tensors of a value, one after the other; NULL if Python has to look for them, perhaps with an error. */
static PyObject *leaves_of(PyObject *kind_of, PyObject *value, PyObject *path) {
    Walk walk = {.kind_of = kind_of, .found = PyList_New(0)};
    if (walk.found && !walk_into(&walk, value, path)) Py_CLEAR(walk.found);
    return walk.found;
}
