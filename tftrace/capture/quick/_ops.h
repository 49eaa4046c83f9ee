/* Torch's functions: `OpMode._enter` of `ops.py`, and the end of the step, for a function that was seen before at the
   same place. */

#include "_following.h"

enum { MOST_NAMES = 8 }; /* of arguments by their positions */

static PyObject *positions[MOST_NAMES];

/* `[0]` and so on, borrowed; NULL with an error. */
static PyObject *name_at(Py_ssize_t at) {
    if (!positions[at]) positions[at] = PyUnicode_FromFormat("[%zd]", at);
    return positions[at];
}

/* The arguments of a function by their names. */
static PyObject *op_arguments(PyObject *args, PyObject *kwargs) {
    PyObject *found = PyDict_New();
    for (Py_ssize_t at = 0; found && at < PyTuple_GET_SIZE(args); at++)
        if (!name_at(at) || PyDict_SetItem(found, name_at(at), PyTuple_GET_ITEM(args, at)) < 0) Py_CLEAR(found);
    if (found && PyDict_GET_SIZE(kwargs) && PyDict_Update(found, kwargs) < 0) Py_CLEAR(found);
    return found;
}

/* Where a function is called below this frame, borrowed; NULL, perhaps with an error, if that is not known. */
static PyObject *op_place(PyObject *function, PyObject *above, PyObject *frame, PyObject *places, PyObject *between) {
    PyFrameObject *caller = above_files(between, (PyFrameObject *)frame);
    PyObject *id = caller ? PyLong_FromVoidPtr(code_of(caller)) : NULL;
    PyObject *at = id ? PyObject_GetAttr((PyObject *)caller, word.f_lasti) : NULL;
    PyObject *key =
        at ? PyTuple_Pack(4, function, PyTuple_GET_ITEM(SLOT(above, of_call.place), AT_NAME), id, at) : NULL;
    PyObject *known = key ? PyDict_GetItemWithError(places, key) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(at);
    Py_XDECREF(id);
    Py_XDECREF(caller);
    return known ? PyTuple_GET_ITEM(known, 1) : NULL;
}

/* Begin the step of a function; NULL, perhaps with an error, if Python has to. */
static PyObject *op_began(Quick *quick, PyObject *state, PyObject *const *given) {
    PyObject *stack = SLOT(state, of_state.stack), *top = PyList_GET_ITEM(stack, PyList_GET_SIZE(stack) - 1), *place;
    PyObject *above = innermost(top);
    if (PyList_GET_SIZE(stack) >= DEEP || SLOT(top, of_call.muted) != Py_False || !above ||
        PyTuple_GET_SIZE(given[1]) > MOST_NAMES || unwatched(quick) != 1 ||
        !(place = op_place(given[0], above, given[3], given[4], given[5])))
        return NULL;
    PyObject *arguments = op_arguments(given[1], given[2]), *call = NULL;
    if (!arguments) return NULL;
    Piece piece;
    Py_INCREF(place);
    if (open_piece(quick, state, &piece) == 1)
        call = Py_XNewRef(entered(quick, state, place, SLOT(top, of_call.owner), arguments, Py_False));
    Py_DECREF(place);
    Py_DECREF(arguments);
    if (close_piece(quick, &piece) < 0) Py_CLEAR(call);
    return call;
}

/* begin_op(function, args, kwargs, frame, places, between): the step of a function; None if Python has to. */
static PyObject *begin_op(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 6 || !PyTuple_Check(given[1]) || !PyDict_Check(given[2]) || !PyFrame_Check(given[3]) ||
        !PyDict_Check(given[4]) || !PySet_Check(given[5]))
        return PyErr_Format(PyExc_TypeError, "begin_op(function, args, kwargs, frame, places, between)");
    PyObject *state = state_of(quick);
    if (!state) return forgotten() ? Py_NewRef(Py_None) : NULL;
    PyObject *call = op_began(quick, state, given);
    Py_DECREF(state);
    return call ? call : forgotten() ? Py_NewRef(Py_None) : NULL;
}

/* end_op(call, result): end the step of a function that returned; False if Python has to. */
static PyObject *end_op(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 2 || Py_TYPE(given[0]) != of_call.type) return PyErr_Format(PyExc_TypeError, "end_op(call, result)");
    PyObject *state = state_of(quick), *stack = state ? SLOT(state, of_state.stack) : NULL;
    Py_ssize_t deep = state ? PyList_GET_SIZE(stack) : 0;
    if (!deep || deep >= DEEP || PyList_GET_ITEM(stack, deep - 1) != given[0] ||
        SLOT(given[0], of_call.parent) == Py_None || unwatched(quick) != 1)
        return said(not_here(state));
    Piece piece;
    if (open_piece(quick, state, &piece) == 1) left(quick, state, given[0], given[1]);
    return said(was_here(state, close_piece(quick, &piece) < 0));
}
