/* The interpreter's trace function, before Python 3.12: it is set aside while nothing runs that is followed, since
   Python looks for a new line at each instruction while there is one. As in `torch_only.py`, and `untrace` and
   `retrace` of `guard.py`. */

#include "_lines.h"

/* Set our trace function aside; whether it is to be put back, also if it was left aside before. */
static int untraced(Quick *quick, PyObject *state) {
    PyObject *tracing = own_of(quick->own, word.tracing);
    int dark = SLOT(state, of_state.dark) == Py_True, ours = tracing && tracing != Py_None && traced_by() == tracing;
    put(state, of_state.dark, Py_NewRef(Py_False));
    if (ours) PyEval_SetTrace(NULL, NULL);
    return ours || dark;
}

/* Follow frames again. */
static int retraced(Quick *quick, PyObject *state) {
    PyObject *tracing = own_of(quick->own, word.tracing), *over = own_of(quick->own, word.over);
    if (!tracing || !over) return -1;
    if (tracing == Py_None || over != Py_False || traced_by() || !PyList_GET_SIZE(SLOT(state, of_state.stack)))
        return 0;
    return trace_by(quick, tracing);
}

/* Whether there are only plain tensors in a tuple, and None. */
static int all_plain(PyObject *values) {
    for (Py_ssize_t at = 0; at < PySequence_Fast_GET_SIZE(values); at++)
        if (PySequence_Fast_GET_ITEM(values, at) != Py_None && !is_plain(PySequence_Fast_GET_ITEM(values, at)))
            return 0;
    return 1;
}

/* The same of a dict. */
static int are_plain(PyObject *dict) {
    PyObject *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, NULL, &value))
        if (value != Py_None && !is_plain(value)) return 0;
    return 1;
}

/* Whether no mode of others sees torch's functions, which may run code of theirs. */
static int only_ours(Quick *quick) {
    PyObject *count = PyObject_CallNoArgs(quick->modes);
    long modes = count ? PyLong_AsLong(count) : -1;
    int ours = modes >= 0;
    Py_XDECREF(count);
    for (long at = 0; ours == 1 && at < modes; at++) {
        PyObject *number = PyLong_FromLong(at), *mode = number ? PyObject_CallOneArg(quick->mode_at, number) : NULL;
        ours = mode ? PyObject_IsInstance(mode, quick->ours) : -1;
        Py_XDECREF(mode);
        Py_XDECREF(number);
    }
    return ours;
}

/* Whether nothing but torch's code runs until a module that begins has ended. */
static int runs_only_torch(Quick *quick, PyObject *watched, PyObject *module, PyObject *args, PyObject *kwargs) {
    PyObject *calls = PyDict_GetItemWithError(quick->kinds, (PyObject *)Py_TYPE(module));
    if (!calls || PyTuple_GET_SIZE(SLOT(watched, of_watched.children)) || PyObject_Size(quick->global_hooks)) return 0;
    if (!all_plain(args) || !are_plain(kwargs)) return 0;
    PyObject *own = PyObject_GenericGetDict(module, NULL);
    PyObject *parameters = own ? PyDict_GetItemWithError(own, word.parameters) : NULL;
    int plain = parameters && PyDict_Check(parameters) && are_plain(parameters);
    Py_XDECREF(own);
    if (!plain) return 0;
    PyObject *function = PyObject_GetAttr(PyTuple_GET_ITEM(calls, 0), PyTuple_GET_ITEM(calls, 1));
    PyObject *torchs = function ? PyObject_CallOneArg(quick->is_torchs, function) : NULL;
    int only = torchs == Py_True && only_ours(quick) == 1;
    Py_XDECREF(torchs);
    Py_XDECREF(function);
    return forgotten() ? only : -1;
}

/* What a hook does, with our trace function aside: where Python has to do it, it stays there for as long. */
static PyObject *hooked(Quick *quick, PyObject *const *given, int begins) {
    if (Py_TYPE(given[0]) != of_watched.type) Py_RETURN_FALSE; /* of a module that was imported twice */
    PyObject *state = PyObject_GetAttr(quick->local, word.state);
    if (!state) return NULL;
    int back = untraced(quick, state);
    int did = begins ? begun(quick, given[0], given[1], given[2], given[3], given[4])
                     : ended(quick, given[0], given[1], given[2], given[3]);
    if (back && (did == 0 || (did > 0 && begins && runs_only_torch(quick, given[0], given[1], given[2], given[3]) > 0)))
        put(state, of_state.dark, Py_NewRef(Py_True));
    else if (back) {
        PyObject *kind, *error, *trace;
        PyErr_Fetch(&kind, &error, &trace);
        if (retraced(quick, state) < 0) did = -1;
        if (kind) PyErr_Restore(kind, error, trace);
    }
    Py_DECREF(state);
    return said(PyErr_Occurred() ? -1 : did);
}

/* entering(watched, module, args, kwargs, frame): begin the step of a call; False if Python has to. */
static PyObject *entering(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 5 || !PyTuple_Check(given[2]) || !PyDict_Check(given[3]) || !PyFrame_Check(given[4]))
        return PyErr_Format(PyExc_TypeError, "entering(watched, module, args, kwargs, frame)");
    return hooked(quick, given, 1);
}

/* leaving(watched, module, result, frame): end the step of a call that returned; False if Python has to. */
static PyObject *leaving(Quick *quick, PyObject *const *given, Py_ssize_t count) {
    if (count != 4) return PyErr_Format(PyExc_TypeError, "leaving(watched, module, result, frame)");
    return hooked(quick, given, 0);
}
