/* Reads the attributes of Python's objects where they lie: those with `__slots__` by their place, others by their
   `__dict__`. */

#include <string.h>
#include <structmember.h>

#define SLOT(OBJECT, AT) (*(PyObject **)((char *)(OBJECT) + (AT)))
#define AS_PLACE(NAME) Py_ssize_t NAME;
#define AS_TEXT(NAME) #NAME,

/* Where an attribute lies in the objects of a class; -1 with an error if that is not known. */
static inline Py_ssize_t slot_of(PyTypeObject *type, const char *name) {
    PyObject *found = PyObject_GetAttrString((PyObject *)type, name);
    Py_ssize_t at = -1;
    if (found && Py_TYPE(found) == &PyMemberDescr_Type) at = ((PyMemberDescrObject *)found)->d_member->offset;
    else if (found) PyErr_Format(PyExc_TypeError, "%s.%s is no slot", type->tp_name, name);
    Py_XDECREF(found);
    return at;
}

/* Look up where the attributes of a class lie whose objects have nothing but slots; their places follow it in a
   struct. */
static inline int find_slots(PyTypeObject **of, PyObject *type, const char *const *names) {
    Py_ssize_t found[32], count = 0;
    if (((PyTypeObject *)type)->tp_dictoffset || ((PyTypeObject *)type)->tp_weaklistoffset) {
        PyErr_Format(PyExc_TypeError, "%R has more than slots", type);
        return 0;
    }
    for (; names[count]; count++)
        if ((found[count] = slot_of((PyTypeObject *)type, names[count])) < 0) return 0;
    Py_XSETREF(*of, (PyTypeObject *)Py_NewRef(type));
    memcpy(of + 1, found, count * sizeof *found);
    return 1;
}

/* Give an attribute another value, whose reference is taken; nothing if there is none, with an error set. */
static inline void put(PyObject *object, Py_ssize_t at, PyObject *value) {
    if (value) Py_XSETREF(SLOT(object, at), value);
}

/* What an object of Python's has under a name, borrowed; `own` is its `__dict__`. */
static inline PyObject *own_of(PyObject *own, PyObject *name) {
    PyObject *found = PyDict_GetItemWithError(own, name);
    if (!found && !PyErr_Occurred()) PyErr_SetObject(PyExc_AttributeError, name);
    return found;
}

/* Forget an error after which Python does the same again; 0 if it is an interrupt, which stays. */
static inline int forgotten(void) {
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_Exception)) return 0;
    PyErr_Clear();
    return 1;
}

/* Whether a call gave something, which is not needed; else -1. */
static inline int done(PyObject *found) {
    Py_XDECREF(found);
    return found ? 0 : -1;
}

/* A part of an object of ours: its name, and where it lies. The last of them has no name. */
typedef struct {
    const char *name;
    size_t at;
} Part;

/* Give an object its parts by name; NULL, with TypeError, if one is missing. */
static inline PyObject *put_together(PyObject *object, const Part *part, PyObject *given) {
    for (; object && part->name; part++) {
        PyObject *one = given ? PyDict_GetItemString(given, part->name) : NULL;
        if (one) SLOT(object, part->at) = Py_NewRef(one);
        else {
            PyErr_Format(PyExc_TypeError, "%s is missing", part->name);
            Py_CLEAR(object);
        }
    }
    return object;
}

static inline int take_apart(PyObject *object, const Part *part) {
    for (; part->name; part++) Py_CLEAR(SLOT(object, part->at));
    return 0;
}

/* What Python's garbage collector asks of a class whose objects are made of PARTS. */
#define COLLECTED(NAME, PARTS)                                                                                         \
    static int visited_##NAME(PyObject *object, visitproc visit, void *arg) {                                          \
        for (const Part *part = PARTS; part->name; part++) Py_VISIT(SLOT(object, part->at));                           \
        return 0;                                                                                                      \
    }                                                                                                                  \
    static int cleared_##NAME(PyObject *object) { return take_apart(object, PARTS); }                                  \
    static void gone_##NAME(PyObject *object) {                                                                        \
        PyObject_GC_UnTrack(object);                                                                                   \
        take_apart(object, PARTS);                                                                                     \
        Py_TYPE(object)->tp_free(object);                                                                              \
    }
