/* The calls of modules: `ForwardHooks.begin` and `finish`, with all that they need, for a call like most others. It
   runs within another, of a module that is as it was, and it returns. */

#include "_pieces.h"

/* Whether a module has the parts that it had when it was last looked at, and our hooks alone. */
static int is_as_it_was(PyObject *module, PyObject *watched) {
    PyObject *own = PyObject_GenericGetDict(module, NULL);
    PyObject *parts = own ? PyDict_GetItemWithError(own, word.modules) : NULL;
    PyObject *known = SLOT(watched, of_watched.children), *part;
    int same = parts && PyDict_Check(parts) && PyDict_GET_SIZE(parts) == PyTuple_GET_SIZE(known);
    Py_ssize_t at = 0, place = 0;
    while (same && PyDict_Next(parts, &place, NULL, &part)) same = PyTuple_GET_ITEM(known, at++) == part;
    PyObject *names[] = {word.pre_hooks, word.hooks};
    for (int which = 0; same && which < 2; which++) {
        PyObject *hooks = PyDict_GetItemWithError(own, names[which]);
        same = hooks && PyDict_Check(hooks) && PyDict_GET_SIZE(hooks) == 1;
    }
    same = same && PyDict_GetItemWithError(own, word.forward) == NULL;
    Py_XDECREF(own);
    return PyErr_Occurred() ? -1 : same;
}

static PyObject *code_of(PyFrameObject *frame) {
    PyObject *code = (PyObject *)PyFrame_GetCode(frame);
    Py_DECREF(code); /* the frame keeps it */
    return code;
}

/* The first frame, from this one on, whose file is not among some. */
static PyFrameObject *above_files(PyObject *files, PyFrameObject *frame) {
    PyFrameObject *at = (PyFrameObject *)Py_NewRef(frame);
    while (at && PySet_Contains(files, ((PyCodeObject *)code_of(at))->co_filename) == 1) {
        PyFrameObject *above = PyFrame_GetBack(at);
        Py_DECREF(at);
        at = above;
    }
    return at;
}

/* Whether a frame is among the callers of another. */
static int is_above(PyObject *frame, PyFrameObject *below) {
    PyFrameObject *at = (PyFrameObject *)Py_NewRef(below);
    while (at && (PyObject *)at != frame) {
        PyFrameObject *above = PyFrame_GetBack(at);
        Py_DECREF(at);
        at = above;
    }
    Py_XDECREF(at);
    return at != NULL;
}

/* Whether the innermost call that a hook began still runs: the code that calls is its own, or called by it. */
static int runs(PyObject *stack, PyFrameObject *caller) {
    Py_ssize_t at = PyList_GET_SIZE(stack) - 1;
    if (SLOT(PyList_GET_ITEM(stack, at), of_call.body) == code_of(caller)) return 1;
    while (at >= 0 && SLOT(PyList_GET_ITEM(stack, at), of_call.hooked) == Py_None) at--;
    return at < 0 || is_above(SLOT(SLOT(PyList_GET_ITEM(stack, at), of_call.hooked), of_hooked.frame), caller);
}

/* The place of a call from this frame, borrowed; NULL, perhaps with an error, if there was none yet. */
static PyObject *place_of(PyObject *watched, PyFrameObject *caller) {
    PyObject *id = PyLong_FromVoidPtr(code_of(caller)), *at = PyObject_GetAttr((PyObject *)caller, word.f_lasti);
    PyObject *name = PyList_GET_ITEM(SLOT(watched, of_watched.names), 0);
    PyObject *key = id && at ? PyTuple_Pack(3, id, at, name) : NULL;
    PyObject *known = key ? PyDict_GetItemWithError(SLOT(watched, of_watched.places), key) : NULL;
    Py_XDECREF(key);
    Py_XDECREF(at);
    Py_XDECREF(id);
    return known ? PyTuple_GET_ITEM(known, 1) : NULL;
}

/* The arguments by the names of the parameters, as `bind_arguments` does; there are no more than these. */
static PyObject *bound(PyObject *parameters, PyObject *args, PyObject *kwargs) {
    PyObject *found = PyDict_New();
    for (Py_ssize_t at = 0; found && at < PyTuple_GET_SIZE(args); at++)
        if (PyDict_SetItem(found, PyTuple_GET_ITEM(parameters, at), PyTuple_GET_ITEM(args, at)) < 0) Py_CLEAR(found);
    if (found && PyDict_GET_SIZE(kwargs) && PyDict_Update(found, kwargs) < 0) Py_CLEAR(found);
    return found;
}

/* Whether the call of a module that is watched can take the short way; `*place` is where it stands then. */
static int can_begin(Quick *quick, PyObject *state, PyObject *watched, PyObject *module, PyObject *args,
                     PyObject *frame, PyObject **place) {
    PyObject *stack = SLOT(state, of_state.stack);
    Py_ssize_t deep = PyList_GET_SIZE(stack);
    PyObject *above = PyList_GET_ITEM(stack, deep - 1), *nesting = own_of(quick->engine_own, word.nesting);
    long hooked = 0;
    for (Py_ssize_t at = 0; at < deep; at++) hooked += SLOT(PyList_GET_ITEM(stack, at), of_call.hooked) != Py_None;
    if (!nesting || deep >= DEEP || SLOT(above, of_call.muted) != Py_False || hooked >= PyLong_AsLong(nesting))
        return 0;
    if (SLOT(watched, of_watched.module) != module || SLOT(watched, of_watched.muted) != Py_False ||
        PyList_GET_SIZE(SLOT(watched, of_watched.names)) != 1 ||
        PyTuple_GET_SIZE(args) > PyTuple_GET_SIZE(SLOT(watched, of_watched.parameters)) ||
        is_as_it_was(module, watched) != 1)
        return 0;
    PyFrameObject *caller = above_files(quick->between, (PyFrameObject *)frame);
    if (caller && runs(stack, caller)) *place = place_of(watched, caller);
    Py_XDECREF(caller);
    return *place && unwatched(quick) == 1;
}

/* What an engine does when a call begins (True) or has ended, if it does anything. */
static int tell(Quick *quick, PyObject *module, PyObject *begins) {
    PyObject *told = own_of(quick->engine_own, word.on_module);
    if (!told || told == Py_None) return told ? 0 : -1;
    return done(PyObject_CallFunctionObjArgs(told, module, begins, NULL));
}

/* The exception that is being handled, or None. */
static PyObject *handled(void) {
    PyObject *kind, *error, *trace;
    PyErr_GetExcInfo(&kind, &error, &trace);
    Py_XDECREF(kind);
    Py_XDECREF(trace);
    return error ? error : Py_NewRef(Py_None);
}

/* What is noted of a call that this frame runs. */
static PyObject *hooked_by(Quick *quick, PyObject *frame) {
    PyObject *hooked = copied(quick->hooked), *above = (PyObject *)PyFrame_GetBack((PyFrameObject *)frame);
    if (hooked) {
        put(hooked, of_hooked.frame, Py_NewRef(frame));
        put(hooked, of_hooked.caller, above ? above : Py_NewRef(Py_None));
        put(hooked, of_hooked.error, handled());
    } else Py_XDECREF(above);
    return hooked;
}

/* Python has to do it: what was found on the way does not matter. */
static int not_here(PyObject *state) {
    Py_XDECREF(state);
    return forgotten() ? 0 : -1;
}

/* It has been done, well or badly. */
static int was_here(PyObject *state, int bad) {
    Py_XDECREF(state);
    return bad ? -1 : 1;
}

/* What a method says: whether it has been done. */
static PyObject *said(int done) { return done < 0 ? NULL : PyBool_FromLong(done); }

/* Begin the step of a call that `frame` runs; 0 if Python has to. */
static int begun(Quick *quick, PyObject *watched, PyObject *module, PyObject *args, PyObject *kwargs, PyObject *frame) {
    PyObject *place = NULL, *state = state_of(quick);
    if (!state || !can_begin(quick, state, watched, module, args, frame, &place)) return not_here(state);
    PyObject *arguments = bound(SLOT(watched, of_watched.parameters), args, kwargs);
    PyObject *hooked = arguments ? hooked_by(quick, frame) : NULL, *call = NULL;
    if (!hooked) {
        Py_XDECREF(arguments);
        return not_here(state);
    }
    Py_INCREF(place);
    Piece piece;
    int open = open_piece(quick, state, &piece);
    if (open == 1 && (call = entered(quick, state, place, module, arguments, Py_False))) {
        put(call, of_call.body, Py_NewRef(SLOT(watched, of_watched.body)));
        put(call, of_call.hooked, Py_NewRef(hooked));
        PyObject *all[] = {quick->engine, watched, call, module};
        if (SLOT(watched, of_watched.described) == Py_None &&
            done(PyObject_VectorcallMethod(word.describe, all, 4, NULL)) < 0)
            call = NULL;
    }
    int bad = close_piece(quick, &piece) < 0 || (call && tell(quick, module, Py_True) < 0);
    Py_DECREF(place);
    Py_DECREF(hooked);
    Py_DECREF(arguments);
    return was_here(state, bad);
}

/* Whether the end of a call of a module can take the short way. */
static int can_end(Quick *quick, PyObject *call, PyObject *watched, PyObject *module, PyObject *frame) {
    PyObject *hooked = SLOT(call, of_call.hooked);
    if (Py_TYPE(hooked) != of_hooked.type || SLOT(call, of_call.owner) != module ||
        (SLOT(hooked, of_hooked.frame) != frame && SLOT(hooked, of_hooked.caller) != frame) ||
        PyLong_AsLong(SLOT(hooked, of_hooked.room)) || SLOT(call, of_call.muted) != Py_False ||
        SLOT(call, of_call.parent) == Py_None || SLOT(watched, of_watched.module) != module)
        return 0;
    PyObject *error = handled();
    int returned = error == Py_None || error == SLOT(hooked, of_hooked.error);
    Py_DECREF(error);
    return returned && is_as_it_was(module, watched) == 1 && unwatched(quick) == 1;
}

/* What the engine does with a call that has returned. */
static int after(Quick *quick, PyObject *call, PyObject *result) {
    PyObject *on_left = own_of(quick->engine_own, word.on_left), *advance = own_of(quick->engine_own, word.advance);
    if (!on_left || !advance) return -1;
    if (on_left != Py_None && done(PyObject_CallFunctionObjArgs(on_left, call, result, NULL)) < 0) return -1;
    return advance != Py_None ? done(PyObject_CallNoArgs(advance)) : 0;
}

/* End the step of a call that returned, and that `frame` runs; 0 if Python has to. */
static int ended(Quick *quick, PyObject *watched, PyObject *module, PyObject *result, PyObject *frame) {
    PyObject *state = state_of(quick), *stack = state ? SLOT(state, of_state.stack) : NULL;
    PyObject *call = stack ? PyList_GET_ITEM(stack, PyList_GET_SIZE(stack) - 1) : NULL;
    if (!call || Py_TYPE(call) != of_call.type) return not_here(state);
    Py_INCREF(call); /* another thread may end the recording, and all calls with it */
    if (!can_end(quick, call, watched, module, frame)) {
        Py_DECREF(call);
        return not_here(state);
    }
    int bad = tell(quick, module, Py_False) < 0;
    if (!bad) {
        put(call, of_call.hooked, Py_NewRef(Py_None));
        Piece piece;
        if (open_piece(quick, state, &piece) == 1 && left(quick, state, call, result) == 0) after(quick, call, result);
        bad = close_piece(quick, &piece) < 0;
    }
    Py_DECREF(call);
    return was_here(state, bad);
}
