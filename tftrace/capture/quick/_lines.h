/* The lines of a frame that is followed: `_Body.line` of `lines.py`, with the end of one line and the begin of the
   next, as in `Recording.end_line` and `next_line`. */

#include "_calls.h"

/* Queue rows for what a line bound. */
static int see_bound(Quick *quick, PyObject *step, PyObject *names, PyObject *frame) {
    if (!PyList_GET_SIZE(names)) return 0;
    PyObject *found = PyObject_GetAttr(frame, word.f_locals);
    for (Py_ssize_t at = 0; found && at < PyList_GET_SIZE(names); at++) {
        PyObject *name = PyList_GET_ITEM(names, at), *value = PyObject_GetItem(found, name);
        if (!value && PyErr_ExceptionMatches(PyExc_KeyError)) PyErr_Clear();
        else if (!value || see(quick, step, word.local, name, value, NULL) < 0) Py_CLEAR(found);
        Py_XDECREF(value);
    }
    Py_XDECREF(found);
    return PyErr_Occurred() ? -1 : 0;
}

/* The step of a line ends; its call stays on the stack for the next one. */
static int end_line(Quick *quick, PyObject *state, PyObject *step, PyObject *line, PyObject *frame) {
    if (see_bound(quick, step, SLOT(line, of_line.binds), frame) < 0 || queue_step(quick, state, step, Py_None) < 0)
        return -1;
    put(step, of_call.step, PyLong_FromLong(-1));
    return settled(quick, state);
}

/* The step of a line begins, with the call of the one before it. */
static int next_line(Quick *quick, PyObject *state, PyObject *step, PyObject *line) {
    put(step, of_call.place, Py_NewRef(SLOT(line, of_line.place)));
    return counted(quick, state, step, line);
}

/* Note the line that begins in a frame that is followed; 0 if Python has to. */
static int advanced(Quick *quick, PyObject *body, PyFrameObject *frame) {
    PyObject *state = state_of(quick);
    PyObject *number = state ? PyLong_FromLong(PyFrame_GetLineNumber(frame)) : NULL;
    PyObject *next = number ? PyDict_GetItemWithError(SLOT(body, of_body._lines), number) : NULL;
    PyObject *ran = SLOT(body, of_body._at), *step = SLOT(body, of_body._step);
    PyObject *stack = state ? SLOT(state, of_state.stack) : NULL;
    Py_XDECREF(number);
    if (!next) return not_here(state);
    if (next == ran) return was_here(state, 0);
    Py_ssize_t deep = PyList_GET_SIZE(stack);
    PyObject *top = PyList_GET_ITEM(stack, deep - 1);
    if (deep >= DEEP || (step == Py_None) != (ran == Py_None) ||
        (step != Py_None && (step != top || SLOT(step, of_call.parent) == Py_None)) ||
        SLOT(top, of_call.muted) != Py_False || unwatched(quick) != 1)
        return not_here(state);
    Piece piece;
    Py_INCREF(next);
    int fine = open_piece(quick, state, &piece) == 1 &&
               (ran == Py_None || end_line(quick, state, step, ran, (PyObject *)frame) == 0);
    if (fine) {
        put(body, of_body._at, Py_NewRef(next));
        if (step != Py_None) next_line(quick, state, step, next);
        else if ((step = pushed(quick, state, SLOT(next, of_line.place), next))) {
            put(step, of_call.owner, Py_NewRef(SLOT(SLOT(body, of_body._call), of_call.owner)));
            put(body, of_body._step, Py_NewRef(step));
        }
    }
    Py_DECREF(next);
    return was_here(state, close_piece(quick, &piece) < 0);
}

/* Whether an equation of a call asks for what is bound in its frame. */
static int asks_for_locals(PyObject *call) {
    PyObject *equations = SLOT(call, of_call.equations);
    int asks = 0;
    for (Py_ssize_t at = 0; !asks && at < PyTuple_GET_SIZE(equations); at++) {
        PyObject *locals = PyObject_GetAttr(PyTuple_GET_ITEM(equations, at), word.locals);
        asks = locals ? locals != Py_False : -1;
        Py_XDECREF(locals);
    }
    return asks;
}

/* Note that a frame that is followed returns; 0 if Python has to. */
static int returned(Quick *quick, PyObject *body, PyFrameObject *frame, PyObject *value) {
    PyObject *state = state_of(quick), *call = SLOT(body, of_body._call), *step = SLOT(body, of_body._step);
    PyObject *stack = state ? SLOT(state, of_state.stack) : NULL;
    Py_ssize_t deep = state ? PyList_GET_SIZE(stack) : 0, above = deep - 1 - (step != Py_None);
    if (!deep || deep >= DEEP || above < 0 || PyList_GET_ITEM(stack, above) != call ||
        (step != Py_None && PyList_GET_ITEM(stack, deep - 1) != step) || SLOT(call, of_call.muted) != Py_False ||
        SLOT(call, of_call.parent) == Py_None || asks_for_locals(call) || unwatched(quick) != 1)
        return not_here(state);
    int ends =
        PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_KIND) == word.function && SLOT(call, of_call.held) == Py_False;
    if (ends && SLOT(call, of_call.hooked) != Py_None) return not_here(state);
    if (!ends && step == Py_None) return was_here(state, 0);
    Piece piece;
    Py_INCREF(call);
    if (open_piece(quick, state, &piece) == 1 &&
        (step == Py_None || end_line(quick, state, step, SLOT(body, of_body._at), (PyObject *)frame) == 0)) {
        if (step != Py_None) PyList_SetSlice(stack, deep - 1, deep, NULL);
        put(body, of_body._step, Py_NewRef(Py_None));
        put(body, of_body._at, Py_NewRef(Py_None));
        if (ends && !PyErr_Occurred()) left(quick, state, call, value);
    }
    Py_DECREF(call);
    return was_here(state, close_piece(quick, &piece) < 0);
}
