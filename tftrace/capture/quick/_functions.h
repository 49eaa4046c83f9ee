/* The functions that a frame calls which is followed, before Python 3.12: `LineTracer.called` of `lines.py`, for code
   that was followed before. */

#include "_aside.h"

#if PY_VERSION_HEX < 0x030C0000

/* A frame is followed: its body, for a call whose lines are known. */
static PyObject *body_of(PyObject *recording, PyObject *call, PyObject *lines) {
    PyObject *body = of_body.type->tp_alloc(of_body.type, 0);
    if (!body) return NULL;
    put(body, of_body._recording, Py_NewRef(recording));
    put(body, of_body._call, Py_NewRef(call));
    put(body, of_body._lines, Py_NewRef(PyTuple_GET_ITEM(lines, 1)));
    put(body, of_body._at, Py_NewRef(Py_None));
    put(body, of_body._step, Py_NewRef(Py_None));
    return body;
}

/* What a dict has under the id of code and something else, borrowed; NULL, perhaps with an error, if it has nothing. */
static PyObject *known_of(PyObject *dict, PyObject *code, PyObject *other) {
    PyObject *id = dict ? PyLong_FromVoidPtr(code) : NULL, *key = id ? PyTuple_Pack(2, id, other) : NULL;
    PyObject *known = key ? PyDict_GetItemWithError(dict, key) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(id);
    return known;
}

/* The arguments of the function that a frame begins to run. */
static PyObject *arguments_of(PyFrameObject *frame) {
    PyObject *locals = PyObject_GetAttr((PyObject *)frame, word.f_locals), *found = locals ? PyDict_New() : NULL;
    PyObject *name, *value;
    for (Py_ssize_t at = 0; found && PyDict_Check(locals) && PyDict_Next(locals, &at, &name, &value);)
        if (PyUnicode_Tailmatch(name, word.dunder, 0, 2, -1) == 0 && PyDict_SetItem(found, name, value) < 0)
            Py_CLEAR(found);
    Py_XDECREF(locals);
    return found;
}

/* Where a function is called from a step above it, if that is known; borrowed. */
static PyObject *function_place(PyObject *own, PyObject *above, PyFrameObject *frame) {
    PyFrameObject *caller = PyFrame_GetBack(frame);
    PyObject *places = own_of(own, word.function_places), *at = NULL, *key = NULL;
    if (caller && places && (at = PyObject_GetAttr((PyObject *)caller, word.f_lasti)))
        key = Py_BuildValue("NONNN", PyLong_FromVoidPtr(SLOT(above, of_call.place)), Py_None,
                            PyLong_FromVoidPtr(code_of(frame)), PyLong_FromVoidPtr(code_of(caller)), at);
    PyObject *known = key ? PyDict_GetItemWithError(places, key) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(caller);
    return known ? PyTuple_GET_ITEM(known, 0) : NULL;
}

/* The step of a function begins, called from a place that is known; 0 if Python has to. */
static int function_begins(Quick *quick, PyObject *state, PyObject *top, PyObject *own, PyFrameObject *frame,
                           PyObject **body) {
    PyObject *above = innermost(top), *code = code_of(frame), *place, *lines;
    if (!above || PyUnicode_Compare(((PyCodeObject *)code)->co_name, word.forward) == 0 ||
        !(place = function_place(own, above, frame)) ||
        !(lines = known_of(own_of(own, word.lines_of), code, PyTuple_GET_ITEM(place, AT_NAME))))
        return 0;
    PyObject *arguments = arguments_of(frame), *call = NULL;
    Piece piece;
    if (!arguments) return 0;
    if (open_piece(quick, state, &piece) == 1 &&
        (call = entered(quick, state, place, SLOT(above, of_call.owner), arguments, Py_False)))
        *body = body_of(quick->recording, call, lines);
    Py_DECREF(arguments);
    return close_piece(quick, &piece) < 0 ? -1 : 1;
}

/* As `LineTracer.called`, for code that was followed before: what follows the frame, if anything has to; 0 if Python
   has to see. */
static int called_again(Quick *quick, PyObject *follower, PyFrameObject *frame, PyObject **body) {
    PyObject *state = state_of(quick), *own = PyObject_GenericGetDict(follower, NULL);
    PyObject *forwards = own ? own_of(own, word.forwards) : NULL, *code = code_of(frame), *lines = NULL;
    PyObject *id = state && forwards ? PyLong_FromVoidPtr(code) : NULL;
    int torchs = id ? PyDict_Contains(forwards, id) : -1, did = 0;
    Py_XDECREF(id);
    if (torchs >= 0 && unwatched(quick) == 1) {
        PyObject *stack = SLOT(state, of_state.stack), *top = PyList_GET_ITEM(stack, PyList_GET_SIZE(stack) - 1);
        int forward = SLOT(top, of_call.body) == code;
        Py_INCREF(top); /* another thread may end the recording, and all calls with it */
        if (PyList_GET_SIZE(stack) >= DEEP || SLOT(top, of_call.muted) != Py_False) did = 0;
        else if (!forward)
            did = torchs ? 0 : function_begins(quick, state, top, own, frame, body);
        else if (torchs || (own_of(own, word.lines) == Py_False && asks_for_locals(top) == 0)) did = 1;
        else if ((lines =
                      known_of(own_of(own, word.lines_of), code, PyTuple_GET_ITEM(SLOT(top, of_call.place), AT_NAME))))
            did = (*body = body_of(quick->recording, top, lines)) ? 1 : -1;
        if (did == 1 && forward) put(top, of_call.body, Py_NewRef(Py_None));
        Py_DECREF(top);
    }
    Py_XDECREF(own);
    Py_XDECREF(state);
    return did < 0 || forgotten() ? did : -1;
}

#endif
