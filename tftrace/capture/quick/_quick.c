/* What most steps of a recording go through, compiled: `Recording.enter`, `leave` and `see_one`, `Guard.run`, and what
   is around them in a call of a module. Of what is not like most others the methods say so, before they have done
   anything, and Python does it.

   In a model nothing of this is in the near caches when a step begins, since the product before it has evicted all: a
   step costs what it reads, and this reads little. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_ops.h"

/* hook(work, *args): as `Guard.run`. */
static PyObject *hook(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count < 1) return PyErr_Format(PyExc_TypeError, "hook(work, *args)");
    PyObject *state = state_of(quick), *found = NULL;
    if (!state || PyList_GET_SIZE(SLOT(state, of_state.stack)) >= DEEP || unwatched(quick) != 1) {
        Py_XDECREF(state);
        return forgotten() ? PyObject_Vectorcall(quick->guard, given, count, NULL) : NULL;
    }
    Piece piece;
    if (open_piece(quick, state, &piece) == 1) found = PyObject_Vectorcall(given[0], given + 1, count - 1, NULL);
    if (close_piece(quick, &piece) < 0) Py_CLEAR(found);
    else if (!found) found = Py_NewRef(Py_None);
    Py_DECREF(state);
    return found;
}

/* line(body, frame): note the line that begins in a frame that is followed; False if Python has to. */
static PyObject *line(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || !PyFrame_Check(given[1])) return PyErr_Format(PyExc_TypeError, "line(body, frame)");
    if (Py_TYPE(given[0]) != of_body.type) Py_RETURN_FALSE; /* of a module that was imported twice */
    return said(advanced(quick, given[0], (PyFrameObject *)given[1]));
}

/* enter(place, owner, arguments, direct): begin a step within another; None if Python has to. */
static PyObject *enter(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 4 || !PyTuple_Check(given[0]) || !PyDict_Check(given[2]))
        return PyErr_Format(PyExc_TypeError, "enter(place, owner, arguments, direct)");
    PyObject *state = PyObject_GetAttr(quick->local, word.state), *call = NULL;
    if (!state) return NULL;
    PyObject *stack = SLOT(state, of_state.stack);
    Py_ssize_t deep = PyList_GET_SIZE(stack);
    int can = deep && is_none_in(quick->own, word.watch) == 1 &&
              SLOT(PyList_GET_ITEM(stack, deep - 1), of_call.muted) == Py_False;
    if (can && (call = entered(quick, state, given[0], given[1], given[2], given[3]))) Py_INCREF(call);
    Py_DECREF(state);
    if (call || PyErr_Occurred()) return call;
    Py_RETURN_NONE;
}

/* leave(call, result): end the innermost step, which returned; False if Python has to. */
static PyObject *leave(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || Py_TYPE(given[0]) != of_call.type) return PyErr_Format(PyExc_TypeError, "leave(call, result)");
    PyObject *state = PyObject_GetAttr(quick->local, word.state), *call = given[0];
    if (!state) return NULL;
    PyObject *stack = SLOT(state, of_state.stack);
    Py_ssize_t deep = PyList_GET_SIZE(stack);
    int can = deep && PyList_GET_ITEM(stack, deep - 1) == call && SLOT(call, of_call.parent) != Py_None &&
              SLOT(call, of_call.muted) == Py_False && SLOT(call, of_call.hooked) == Py_None &&
              is_none_in(quick->own, word.watch) == 1;
    int bad = can && left(quick, state, call, given[1]) < 0;
    Py_DECREF(state);
    return bad ? NULL : PyBool_FromLong(can);
}

/* see(call, role, name, value, seen): as `Recording.see_one`. */
static PyObject *see_one(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 5 || Py_TYPE(given[0]) != of_call.type)
        return PyErr_Format(PyExc_TypeError, "see(call, role, name, value, seen)");
    if (see(quick, given[0], given[1], given[2], given[3], given[4] == Py_None ? NULL : given[4]) < 0) return NULL;
    Py_RETURN_NONE;
}

#define OF(FIELD) {#FIELD, offsetof(Quick, FIELD)}
#define RECORDS(FIELD) {#FIELD, offsetof(Quick, records.FIELD)}
static const Part parts_of_quick[] = {
    OF(recording),      OF(engine),       OF(own),        OF(engine_own),
    OF(rows),           OF(local),        OF(acquire),    OF(release),
    OF(clock),          OF(hide),         OF(set_trace),  OF(guard),
    OF(dispatched),     OF(traced),       OF(between),    OF(kinds),
    OF(is_torchs),      OF(global_hooks), OF(kind_of),    OF(modes),
    OF(mode_at),        OF(ours),         OF(call),       OF(hooked),
    RECORDS(of),        RECORDS(summary), RECORDS(form),  RECORDS(weak_storage),
    RECORDS(stats),     RECORDS(prints),  RECORDS(views), RECORDS(storages),
    RECORDS(stretches), RECORDS(next),    RECORDS(keep),  RECORDS(kept),
    RECORDS(forms),     {NULL},
};

/* Quick(**parts): all that is named above; None for what there is not. */
static PyObject *made_quick(PyTypeObject *type, PyObject *args, PyObject *given) {
    PyObject *quick = put_together(type->tp_alloc(type, 0), parts_of_quick, given);
    for (const Part *part = parts_of_quick; quick && part->name; part++)
        if (SLOT(quick, part->at) == Py_None) Py_CLEAR(SLOT(quick, part->at));
    return quick;
}

COLLECTED(quick, parts_of_quick)

static PyMethodDef of_quick[] = {
    {"entering", (PyCFunction)(void (*)(void))entering, METH_FASTCALL,
     "Begin the step of a call; False if Python has to."},
    {"leaving", (PyCFunction)(void (*)(void))leaving, METH_FASTCALL,
     "End the step of a call that returned; False likewise."},
    {"line", (PyCFunction)(void (*)(void))line, METH_FASTCALL, "Note the line that begins; False if Python has to."},
    {"begin_op", (PyCFunction)(void (*)(void))begin_op, METH_FASTCALL, "Begin the step of a function; None likewise."},
    {"end_op", (PyCFunction)(void (*)(void))end_op, METH_FASTCALL,
     "End the step of one that returned; False likewise."},
    {"hook", (PyCFunction)(void (*)(void))hook, METH_FASTCALL, "See `Guard.run`."},
    {"enter", (PyCFunction)(void (*)(void))enter, METH_FASTCALL, "Begin a step within another; None if Python has to."},
    {"leave", (PyCFunction)(void (*)(void))leave, METH_FASTCALL, "End the innermost step; False if Python has to."},
    {"see", (PyCFunction)(void (*)(void))see_one, METH_FASTCALL, "See `Recording.see_one`."},
    {NULL},
};
static PyTypeObject quick_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tftrace.capture.quick._quick.Quick",
    .tp_basicsize = sizeof(Quick),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = made_quick,
    .tp_dealloc = gone_quick,
    .tp_traverse = visited_quick,
    .tp_clear = cleared_quick,
    .tp_methods = of_quick,
};

static int find_tensors(void) {
    PyObject *torch = PyImport_ImportModule("torch"), *nn = torch ? PyImport_ImportModule("torch.nn") : NULL;
    tensor_type = nn ? (PyTypeObject *)PyObject_GetAttrString(torch, "Tensor") : NULL;
    parameter_type = tensor_type ? (PyTypeObject *)PyObject_GetAttrString(nn, "Parameter") : NULL;
    Py_XDECREF(nn);
    Py_XDECREF(torch);
    return parameter_type != NULL;
}

static const struct {
    const char *name;
    PyTypeObject **type;
    const char *const *slots;
} classes[] = {
    {"Call", &of_call.type, call_slots},
    {"State", &of_state.type, state_slots},
    {"Watched", &of_watched.type, watched_slots},
    {"Hooked", &of_hooked.type, hooked_slots},
    {"Entering", &of_entering.type, entering_slots},
    {"Body", &of_body.type, body_slots},
    {"Line", &of_line.type, line_slots},
    {"Local", &of_local.type, local_slots},
};

/* bind(**classes): look up where the attributes of these classes lie. */
static PyObject *bind(PyObject *self, PyObject *args, PyObject *given) {
    for (size_t at = 0; given && at < sizeof classes / sizeof *classes; at++) {
        PyObject *type = PyDict_GetItemString(given, classes[at].name);
        if (type && !find_slots(classes[at].type, type, classes[at].slots)) return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"bind", (PyCFunction)(void (*)(void))bind, METH_VARARGS | METH_KEYWORDS,
     "bind(**classes): look up where the attributes of these classes lie."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_quick", "What every call goes through.", -1,
                                        functions};

PyMODINIT_FUNC PyInit__quick(void) {
    if (!can_tell() || !find_words() || !find_tensors() || PyType_Ready(&quick_type) < 0) return NULL;
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddObjectRef(module, "Quick", (PyObject *)&quick_type) < 0) Py_CLEAR(module);
    if (module && !add_tracer(module)) Py_CLEAR(module);
    return module;
}
