/* A piece of a recording, as in `Guard.run` of `guard.py`: what hides it from the model, and takes its time. */

#include "_steps.h"

enum { DEEP = 16 }; /* as in `guard.py` */

/* The innermost module or function that runs; NULL if there is none. */
static PyObject *innermost(PyObject *call) {
    for (; call != Py_None; call = SLOT(call, of_call.parent)) {
        PyObject *kind = PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_KIND);
        if (kind == word.module || kind == word.function) return call;
    }
    return NULL;
}

/* Whether an attribute is None. */
static int is_none_in(PyObject *own, PyObject *name) {
    PyObject *found = own_of(own, name);
    return found ? found == Py_None : -1;
}

/* The state of this thread, if it records nothing of its own at the moment and may take the short way. */
static PyObject *state_of(Quick *quick) {
    PyObject *state = PyObject_GetAttr(quick->local, word.state);
    if (!state) return NULL;
    int ready = SLOT(state, of_state.busy) == Py_False && own_of(quick->own, word.over) == Py_False &&
                is_none_in(quick->own, word.watch) == 1 && PyList_GET_SIZE(SLOT(state, of_state.stack)) > 0;
    if (ready && !PyErr_Occurred()) return state;
    Py_DECREF(state);
    return NULL;
}

/* Whether a function that says how many there are, or whether there is one, says that there is none. */
static int none_of(PyObject *function) {
    PyObject *found = PyObject_CallNoArgs(function);
    int some = found ? PyObject_IsTrue(found) : -1;
    Py_XDECREF(found);
    return some < 0 ? -1 : !some;
}

/* Whether no mode sees each operator, from which our sums would have to be hidden, and torch.jit.trace notes none. */
static int unwatched(Quick *quick) {
    int none = none_of(quick->dispatched);
    return none == 1 ? none_of(quick->traced) : none;
}

typedef struct {
    PyObject *state;
    PyObject *hidden; /* what hides our sums from modes, and from tensors of other classes */
    int traced;       /* whether our trace function was set aside */
} Piece;

/* Add what one number has more than another. */
static int add_to(PyObject *object, Py_ssize_t slot, PyObject *one, PyObject *less) {
    PyObject *more = PyNumber_Subtract(one, less), *sum = more ? PyNumber_Add(SLOT(object, slot), more) : NULL;
    Py_XDECREF(more);
    put(object, slot, sum);
    return sum ? 0 : -1;
}

/* What traces this thread, borrowed; NULL if nothing does. */
static PyObject *traced_by(void) { return PyThreadState_Get()->c_traceobj; }

static int trace_by(Quick *quick, PyObject *function); /* see `_following.h` */

/* A piece begins; 0 if the recording is over. */
static int open_piece(Quick *quick, PyObject *state, Piece *piece) {
    PyObject *tracing = own_of(quick->own, word.tracing);
    *piece =
        (Piece){state, NULL, tracing && tracing != Py_None && traced_by() == tracing && !PyThreadState_Get()->tracing};
    put(state, of_state.busy, Py_NewRef(Py_True));
    if (!tracing) return -1;
    if (piece->traced) PyEval_SetTrace(NULL, NULL);
    PyObject *began = PyObject_CallNoArgs(quick->clock);
    put(state, of_state.began, began);
    if (!began || done(PyObject_CallNoArgs(quick->acquire)) < 0) return -1;
    piece->hidden = PyObject_CallNoArgs(quick->hide);
    if (!piece->hidden || done(PyObject_CallMethodNoArgs(piece->hidden, word.enter)) < 0) return -1;
    return own_of(quick->own, word.over) == Py_False; /* another thread may have ended it meanwhile */
}

/* What was set aside is put back, and the time is taken. */
static int put_back(Quick *quick, Piece *piece) {
    PyObject *state = piece->state, *none[] = {piece->hidden, Py_None, Py_None, Py_None};
    if (piece->hidden && (done(PyObject_VectorcallMethod(word.exit, none, 4, NULL)) < 0 ||
                          done(PyObject_CallNoArgs(quick->release)) < 0))
        return -1;
    put(state, of_state.busy, Py_NewRef(Py_False));
    PyObject *ended = PyObject_CallNoArgs(quick->clock), *entered = SLOT(state, of_state.entered);
    int fine = ended && add_to(state, of_state.own, ended, SLOT(state, of_state.began)) == 0;
    if (fine && entered != Py_None) {
        PyObject *start = own_of(quick->own, word.start), *since = start ? PyNumber_Subtract(ended, start) : NULL;
        put(entered, of_call.start_ns, since);
        put(entered, of_call.own_ns, Py_NewRef(SLOT(state, of_state.own)));
        put(state, of_state.entered, Py_NewRef(Py_None));
        fine = since != NULL;
    }
    Py_XDECREF(ended);
    PyObject *tracing = own_of(quick->own, word.tracing), *over = own_of(quick->own, word.over);
    if (fine && piece->traced && tracing && over == Py_False && PyList_GET_SIZE(SLOT(state, of_state.stack)) &&
        !traced_by())
        fine = trace_by(quick, tracing) == 0;
    return fine ? 0 : -1;
}

/* A piece ends. An error in it ends the recording, unless it is of a kind that has to end the program. */
static int close_piece(Quick *quick, Piece *piece) {
    PyObject *kind = NULL, *error = NULL, *trace = NULL;
    PyErr_Fetch(&kind, &error, &trace);
    if (kind && PyErr_GivenExceptionMatches(kind, PyExc_Exception)) {
        PyErr_NormalizeException(&kind, &error, &trace);
        if (trace) PyException_SetTraceback(error, trace);
        int told = done(PyObject_CallMethodOneArg(quick->recording, word.broke, error));
        Py_XDECREF(kind), Py_XDECREF(error), Py_XDECREF(trace);
        kind = error = trace = NULL;
        if (told < 0) PyErr_Fetch(&kind, &error, &trace);
    }
    int fine = put_back(quick, piece) == 0;
    Py_XDECREF(piece->hidden);
    if (fine && PyList_GET_SIZE(SLOT(piece->state, of_state.later)))
        fine = done(PyObject_CallMethodOneArg(quick->recording, word.do_later, piece->state)) == 0;
    if (kind) PyErr_Restore(kind, error, trace);
    return fine && !kind ? 0 : -1;
}
