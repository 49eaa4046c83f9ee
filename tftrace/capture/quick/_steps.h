/* The steps of a recording: `Recording.enter` and `Recording.leave`, for a step within another that returns. */

#include "_leaves.h"

enum { MOST_STEPS = 4096, NANOSECONDS = 1000000000 }; /* as in `recording.py` */

typedef struct {
    PyObject_HEAD PyObject *recording, *engine; /* a Recording, and the ForwardHooks that see its calls */
    PyObject *own, *engine_own, *rows;          /* their `__dict__`s, and that of the Rows */
    PyObject *local, *acquire, *release;        /* of the recording: its threads' states and its lock */
    PyObject *clock, *set_trace, *hide;         /* time; `sys.settrace`; what hides our sums */
    PyObject *guard, *dispatched, *traced;      /* `Guard.run`; how many modes see operators; is torch traced */
    PyObject *between;                          /* the files of the frames between a call and the forward */
    PyObject *call, *hooked;                    /* such objects as they are at first */
    PyObject *kinds, *is_torchs;                /* modules that call one function; is one torch's own */
    PyObject *global_hooks, *kind_of;           /* those that run after any call; what values of a class hold */
    PyObject *modes, *mode_at, *ours;           /* how many modes see functions; one of them; the class of ours */
    Records records;
} Quick;

static PyTypeObject quick_type;

static int push(PyObject *list, PyObject *one) { return PyList_Append(list, one); }

/* `Recording.see_one`, for what a step within another sees. */
static int see(Quick *quick, PyObject *call, PyObject *role, PyObject *name, PyObject *value, PyObject *seen) {
    if (value == Py_None || PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyFloat_CheckExact(value) ||
        PyBool_Check(value))
        return 0;
    if (!is_plain(value)) {
        PyObject *leaves = leaves_of(quick->kind_of, value, name);
        int bad = 0;
        for (Py_ssize_t at = 0; leaves && !bad && at < PyList_GET_SIZE(leaves); at += 2)
            bad = see(quick, call, role, PyList_GET_ITEM(leaves, at), PyList_GET_ITEM(leaves, at + 1), seen) < 0;
        if (leaves) {
            Py_DECREF(leaves);
            return bad ? -1 : 0;
        }
        if (!forgotten()) return -1;
        PyObject *all[] = {quick->recording, call, role, name, value, seen ? seen : Py_None};
        return done(PyObject_VectorcallMethod(word.see_any, all, 6, NULL));
    }
    Plain plain = {.form = NULL};
    PyObject *record = record_of(&quick->records, value, seen, &plain);
    int bad = record == NULL;
    if (!bad && quick->records.keep) {
        PyObject *part = SLOT(call, of_call.attends) == Py_True ? word.attention : word.no_part;
        if (SLOT(call, of_call.parent) == Py_None && role == word.output) part = word.result;
        bad = keep(&quick->records, record, value, PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_NAME), role, part,
                   &plain);
    }
    PyObject *rows = bad ? NULL : own_of(quick->rows, word.tensors);
    bad = !rows || push(rows, SLOT(call, of_call.step)) || push(rows, role) || push(rows, name) || push(rows, record);
    Py_XDECREF(plain.form);
    Py_XDECREF(record);
    return bad ? -1 : 0;
}

/* Number a step that begins, also among those with its key in this forward. */
static int counted(Quick *quick, PyObject *state, PyObject *call, PyObject *key) {
    PyObject *counts = SLOT(state, of_state.counts), *steps = own_of(quick->own, word.steps);
    PyObject *before = steps ? PyDict_GetItemWithError(counts, key) : NULL;
    if (!steps || PyErr_Occurred()) return -1;
    long long often = before ? PyLong_AsLongLong(before) : 0;
    put(call, of_call.occurrence, PyLong_FromLongLong(often));
    put(call, of_call.step, Py_NewRef(steps));
    PyObject *next = PyLong_FromLongLong(PyLong_AsLongLong(steps) + 1), *more = PyLong_FromLongLong(often + 1);
    int bad = !next || !more || PyErr_Occurred() || PyDict_SetItem(counts, key, more) < 0 ||
              PyDict_SetItem(quick->own, word.steps, next) < 0;
    if (!bad) put(state, of_state.entered, Py_NewRef(call));
    Py_XDECREF(next);
    Py_XDECREF(more);
    return bad ? -1 : 0;
}

/* `Recording._begin`, below a step that runs; the call is borrowed. */
static PyObject *pushed(Quick *quick, PyObject *state, PyObject *place, PyObject *key) {
    PyObject *stack = SLOT(state, of_state.stack), *above = PyList_GET_ITEM(stack, PyList_GET_SIZE(stack) - 1);
    PyObject *call = copied(quick->call);
    if (!call) return NULL;
    put(call, of_call.place, Py_NewRef(place));
    put(call, of_call.parent, Py_NewRef(above));
    put(call, of_call.depth, PyLong_FromLongLong(PyLong_AsLongLong(SLOT(above, of_call.depth)) + 1));
    put(call, of_call.forward, Py_NewRef(SLOT(above, of_call.forward)));
    int bad = counted(quick, state, call, key) < 0 || push(stack, call) < 0;
    Py_DECREF(call);
    return bad ? NULL : call;
}

/* `Recording.enter`. */
static PyObject *entered(Quick *quick, PyObject *state, PyObject *place, PyObject *owner, PyObject *arguments,
                         PyObject *direct) {
    PyObject *call = pushed(quick, state, place, PyTuple_GET_ITEM(place, AT_NAME)),
             *equations = own_of(quick->own, word.equations), *name, *value;
    if (!call || !equations) return NULL;
    int attends = PyDict_Contains(arguments, word.query) == 1 && PyDict_Contains(arguments, word.key) == 1 &&
                  PyDict_Contains(arguments, word.value) == 1;
    put(call, of_call.owner, Py_NewRef(owner));
    put(call, of_call.direct, Py_NewRef(direct));
    put(call, of_call.arguments, Py_NewRef(arguments));
    put(call, of_call.attends, Py_NewRef(attends ? Py_True : Py_False));
    PyObject *given = NULL;
    if (equations != Py_None && PyTuple_GET_ITEM(place, AT_KIND) != word.op) {
        PyObject *returned = PyDict_New();
        if (!returned || !(given = PyDict_New())) return NULL;
        put(call, of_call.returned, returned);
        put(call, of_call.given, given);
    }
    for (Py_ssize_t at = 0; PyDict_Next(arguments, &at, &name, &value);)
        if (see(quick, call, word.input, name, value, given) < 0) return NULL;
    if (!given) return call;
    if (done(PyObject_CallMethodOneArg(equations, word.begin, call)) < 0) return NULL;
    if (SLOT(call, of_call.seen) != Py_None && push(SLOT(state, of_state.collectors), call) < 0) return NULL;
    return call;
}

/* The duration of a call that ends now, without what the recording took of it. */
static PyObject *took(Quick *quick, PyObject *state, PyObject *call) {
    PyObject *start = own_of(quick->own, word.start);
    if (!start) return NULL;
    long long since = PyLong_AsLongLong(SLOT(state, of_state.began)) - PyLong_AsLongLong(start) -
                      PyLong_AsLongLong(SLOT(call, of_call.start_ns)) - PyLong_AsLongLong(SLOT(state, of_state.own)) +
                      PyLong_AsLongLong(SLOT(call, of_call.own_ns));
    return PyErr_Occurred() ? NULL : PyLong_FromLongLong(since > 0 ? since : 0);
}

static long long number_in(PyObject *own, PyObject *name) {
    PyObject *found = own_of(own, name);
    return found ? PyLong_AsLongLong(found) : -1;
}

/* Write what has been gathered, if there is much of it, or if it has waited for long. */
static int settled(Quick *quick, PyObject *state) {
    long long waiting = number_in(quick->own, word.steps) - number_in(quick->own, word.settled);
    long long since = PyLong_AsLongLong(SLOT(state, of_state.began)) - number_in(quick->own, word.written);
    if (PyErr_Occurred()) return -1;
    if (waiting <= MOST_STEPS && since <= NANOSECONDS) return 0;
    return done(PyObject_CallMethodOneArg(quick->recording, word.settle, Py_True));
}

/* Queue the row of a step that has returned. */
static int queue_step(Quick *quick, PyObject *state, PyObject *call, PyObject *equation) {
    PyObject *lasted = took(quick, state, call), *rows = lasted ? own_of(quick->rows, word.step_rows) : NULL;
    int bad = !rows || push(rows, SLOT(call, of_call.place)) || push(rows, SLOT(call, of_call.step)) ||
              push(rows, SLOT(SLOT(call, of_call.parent), of_call.step)) || push(rows, SLOT(call, of_call.depth)) ||
              push(rows, SLOT(call, of_call.forward)) || push(rows, SLOT(call, of_call.occurrence)) ||
              push(rows, SLOT(call, of_call.start_ns)) || push(rows, lasted) || push(rows, word.was_returned) ||
              push(rows, equation);
    Py_XDECREF(lasted);
    return bad ? -1 : 0;
}

/* `Recording._conclude`, of a call that returned. */
static PyObject *concluded(Quick *quick, PyObject *state, PyObject *call) {
    PyObject *checks = own_of(quick->own, word.equations), *collectors = SLOT(state, of_state.collectors);
    PyObject *matches = SLOT(call, of_call.equations), *all[] = {quick->recording, state, call, word.was_returned};
    if (!checks) return NULL;
    if (checks == Py_None || !PyTuple_GET_SIZE(matches) || PyTuple_GET_SIZE(SLOT(call, of_call.noted)) ||
        SLOT(state, of_state.stopping) != Py_False)
        return PyObject_VectorcallMethod(word.conclude, all, 4, NULL);
    Py_ssize_t last = PyList_GET_SIZE(collectors) - 1;
    if (SLOT(call, of_call.seen) != Py_None && PyList_SetSlice(collectors, last, last + 1, NULL) < 0) return NULL;
    if (done(PyObject_CallMethodOneArg(checks, word.finish, call)) < 0) return NULL;
    put(call, of_call.seen, Py_NewRef(Py_None));
    put(call, of_call.before, Py_NewRef(Py_None));
    put(call, of_call.latest, PyDict_New());
    PyObject *equation = PyObject_GetAttr(PyTuple_GET_ITEM(SLOT(call, of_call.equations), 0), word.equation);
    PyObject *id = equation ? PyObject_GetAttr(equation, word.id) : NULL;
    Py_XDECREF(equation);
    return id;
}

/* `Recording.leave`, of the innermost call. */
static int left(Quick *quick, PyObject *state, PyObject *call, PyObject *result) {
    PyObject *returned = SLOT(call, of_call.returned), *equation = Py_None;
    if (see(quick, call, word.output, word.no_part, result, returned == Py_None ? NULL : returned) < 0) return -1;
    PyObject *stack = SLOT(state, of_state.stack);
    if (PyList_SetSlice(stack, PyList_GET_SIZE(stack) - 1, PyList_GET_SIZE(stack), NULL) < 0) return -1;
    if (SLOT(state, of_state.entered) == call) put(state, of_state.entered, Py_NewRef(Py_None));
    put(call, of_call.result, Py_NewRef(result));
    if (PyTuple_GET_SIZE(SLOT(call, of_call.equations)) || PyTuple_GET_SIZE(SLOT(call, of_call.noted))) {
        equation = concluded(quick, state, call);
    } else Py_INCREF(equation);
    int bad = !equation || queue_step(quick, state, call, equation) < 0;
    Py_XDECREF(equation);
    PyObject *collectors = SLOT(state, of_state.collectors);
    PyObject *all[] = {quick->recording, collectors, call, result};
    int collected = PyList_GET_SIZE(collectors) && PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_KIND) != word.op;
    if (bad || (collected && done(PyObject_VectorcallMethod(word.collect, all, 4, NULL)) < 0)) return -1;
    return settled(quick, state);
}
