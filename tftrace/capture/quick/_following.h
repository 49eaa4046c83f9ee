/* Frames that are followed before Python 3.12: as `Settrace` of `frames.py` does, but called by the interpreter itself,
   which then neither makes a dict of the locals of each frame nor calls anything of Python's for one that nobody wants.
 */

#include "_functions.h"

#if PY_VERSION_HEX < 0x030C0000

enum { UNWANTED, WANTED, CALL, ANSWERS = 4 }; /* to whether code is followed; CALL: it is torch's, and calls a module */

typedef struct {
    PyObject_HEAD PyObject *python, *look_at; /* follows frames, in Python; says how code that is new is followed */
    PyObject *follower, *recording;           /* a Follower, and the recording */
    PyObject *local, *body;                   /* the classes of a frame's trace function, and of what that tells */
    PyObject *call, *inner;                   /* torch's code that calls a module, and the function that it calls */
    PyObject *global_hooks;                   /* those that run before any call */
    uintptr_t round;                          /* of the answers that are remembered */
} Tracer;

static uintptr_t rounds;
static Py_ssize_t place_of_answers = -1; /* in the code that they are about */
static PyTypeObject tracer_type;

/* How code is followed; asked once. */
static int answered(Tracer *tracer, PyFrameObject *frame) {
    void *known = NULL;
    PyObject *code = code_of(frame);
    if (_PyCode_GetExtra(code, place_of_answers, &known) < 0) return -1;
    if ((uintptr_t)known / ANSWERS == tracer->round) return (uintptr_t)known % ANSWERS;
    if (code == tracer->call) return CALL;
    uintptr_t round = tracer->round; /* asking may begin another one */
    PyObject *found = PyObject_CallOneArg(tracer->look_at, (PyObject *)frame);
    long answer = found && found != Py_None ? PyLong_AsLong(found) : UNWANTED;
    if (!found || PyErr_Occurred() ||
        (found != Py_None && _PyCode_SetExtra(code, place_of_answers, (void *)(round * ANSWERS + answer)) < 0))
        answer = -1;
    Py_XDECREF(found);
    return answer;
}

/* A module is called: until our hook runs, nothing runs that is followed, if it is the only one and sure to run. */
static int set_aside(Tracer *tracer, PyFrameObject *frame) {
    PyObject *quick = PyObject_GetAttr(tracer->recording, word.quick), *state = NULL, *module = NULL, *own = NULL;
    PyObject *locals =
        quick && Py_TYPE(quick) == &quick_type ? PyObject_GetAttr((PyObject *)frame, word.f_locals) : NULL;
    if (locals && (state = state_of((Quick *)quick)) && (module = PyObject_GetItem(locals, word.self)))
        own = PyObject_GenericGetDict(module, NULL);
    PyObject *hooks = own ? PyDict_GetItemWithError(own, word.pre_hooks) : NULL, *hook = NULL, *calls = NULL;
    Py_ssize_t at = 0;
    if (hooks && PyDict_Check(hooks) && PyDict_GET_SIZE(hooks) == 1 && PyDict_Next(hooks, &at, NULL, &hook) &&
        Py_TYPE(hook) == of_entering.type && SLOT(hook, of_entering.recording) == tracer->recording &&
        PyObject_Size(tracer->global_hooks) == 0 &&
        (calls = PyObject_GetAttr((PyObject *)Py_TYPE(module), word.call_impl)) == tracer->inner) {
        PyEval_SetTrace(NULL, NULL);
        put(state, of_state.dark, Py_NewRef(Py_True));
    }
    Py_XDECREF(calls), Py_XDECREF(own), Py_XDECREF(module), Py_XDECREF(state), Py_XDECREF(locals), Py_XDECREF(quick);
    return forgotten() ? 0 : -1;
}

/* A frame begins. */
static int frame_begins(Tracer *tracer, PyFrameObject *frame) {
    int answer = answered(tracer, frame);
    if (answer <= UNWANTED) return answer;
    if (answer == CALL) return set_aside(tracer, frame);
    PyObject *body = NULL, *quick = PyObject_GetAttr(tracer->recording, word.quick);
    int did = quick && Py_TYPE(quick) == &quick_type && tracer->body == (PyObject *)of_body.type
                  ? called_again((Quick *)quick, tracer->follower, frame, &body)
                  : 0;
    Py_XDECREF(quick);
    if (did < 0 || (did == 0 && !forgotten())) return -1;
    if (did == 0) body = PyObject_CallMethodOneArg(tracer->follower, word.called, (PyObject *)frame);
    if (!body || body == Py_None) return did ? 0 : done(body);
    PyTypeObject *type = (PyTypeObject *)tracer->local;
    PyObject *local = type->tp_alloc(type, 0), *lines = NULL;
    if (local) put(local, of_local._body, Py_NewRef(body));
    int fine = local && PyObject_SetAttr((PyObject *)frame, word.f_trace, local) == 0 &&
               (lines = PyObject_GetAttr(tracer->follower, word.lines));
    if (fine && lines == Py_False) fine = PyObject_SetAttr((PyObject *)frame, word.f_trace_lines, Py_False) == 0;
    Py_XDECREF(lines);
    Py_XDECREF(local);
    Py_DECREF(body);
    return fine ? 0 : -1;
}

/* A frame that is followed goes on to a line, or ends: with a value, or with none if there is an exception. */
static int frame_goes_on(PyObject *body, PyFrameObject *frame, int what, PyObject *value) {
    int did = 0;
    if (Py_TYPE(body) == of_body.type && (what == PyTrace_LINE || value)) {
        PyObject *quick = PyObject_GetAttr(SLOT(body, of_body._recording), word.quick);
        if (!quick) return -1;
        if (Py_TYPE(quick) == &quick_type)
            did = what == PyTrace_LINE ? advanced((Quick *)quick, body, frame)
                                       : returned((Quick *)quick, body, frame, value);
        Py_DECREF(quick);
    }
    if (did) return did < 0 ? -1 : 0;
    if (what == PyTrace_LINE) return done(PyObject_CallMethodOneArg(body, word.line, (PyObject *)frame));
    PyObject *all[] = {body, (PyObject *)frame, value ? value : Py_None, value ? Py_False : Py_True};
    return done(PyObject_VectorcallMethod(word.leave, all, 4, NULL));
}

/* The interpreter tells of a frame. */
static int follow(PyObject *self, PyFrameObject *frame, int what, PyObject *value) {
    Tracer *tracer = (Tracer *)self;
    int bad = 0;
    if (what == PyTrace_CALL) bad = frame_begins(tracer, frame) < 0;
    else if (what == PyTrace_LINE || what == PyTrace_RETURN) {
        PyObject *local = PyObject_GetAttr((PyObject *)frame, word.f_trace);
        if (!local) bad = 1;
        else if ((PyObject *)Py_TYPE(local) == tracer->local)
            bad = frame_goes_on(SLOT(local, of_local._body), frame, what, value) < 0;
        Py_XDECREF(local);
    }
    if (bad) PyEval_SetTrace(NULL, NULL); /* as Python does if a function set by `sys.settrace` fails */
    return bad ? -1 : 0;
}

/* set_trace(function): `sys.settrace`, by which one of these is called without Python. */
static PyObject *set_trace(PyObject *self, PyObject *function) {
    PyEval_SetTrace(function == Py_None ? NULL : follow, function == Py_None ? NULL : function);
    Py_RETURN_NONE;
}

static int trace_by(Quick *quick, PyObject *function) {
    if (Py_TYPE(function) != &tracer_type) return done(PyObject_CallOneArg(quick->set_trace, function));
    PyEval_SetTrace(follow, function);
    return 0;
}

#define OF_TRACER(NAME) {#NAME, offsetof(Tracer, NAME)}
static const Part parts_of_tracer[] = {
    OF_TRACER(python),    OF_TRACER(look_at), OF_TRACER(follower), OF_TRACER(local),        OF_TRACER(body),
    OF_TRACER(recording), OF_TRACER(call),    OF_TRACER(inner),    OF_TRACER(global_hooks), {NULL},
};

/* Tracer(**parts): all that is named above. */
static PyObject *made_tracer(PyTypeObject *type, PyObject *args, PyObject *given) {
    PyObject *tracer = put_together(type->tp_alloc(type, 0), parts_of_tracer, given);
    if (tracer) ((Tracer *)tracer)->round = ++rounds;
    return tracer;
}

COLLECTED(tracer, parts_of_tracer)

/* Whoever puts it back by `sys.settrace` calls it as any other trace function. */
static PyObject *tracer_called(PyObject *tracer, PyObject *args, PyObject *named) {
    return PyObject_Call(((Tracer *)tracer)->python, args, named);
}

/* again(): ask again how all code is followed. */
static PyObject *again(PyObject *tracer, PyObject *none) {
    ((Tracer *)tracer)->round = ++rounds;
    Py_RETURN_NONE;
}

static PyMethodDef of_tracer[] = {{"again", again, METH_NOARGS, "Ask again how all code is followed."}, {NULL}};
static PyTypeObject tracer_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tftrace.capture.quick._quick.Tracer",
    .tp_basicsize = sizeof(Tracer),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = made_tracer,
    .tp_dealloc = gone_tracer,
    .tp_traverse = visited_tracer,
    .tp_clear = cleared_tracer,
    .tp_call = tracer_called,
    .tp_methods = of_tracer,
};

/* Add what is here to the module. */
static int add_tracer(PyObject *module) {
    static PyMethodDef function = {"set_trace", set_trace, METH_O, "`sys.settrace`, for a Tracer without Python."};
    if (place_of_answers < 0) place_of_answers = _PyEval_RequestCodeExtraIndex(NULL);
    PyObject *made = PyCFunction_New(&function, NULL);
    int fine = place_of_answers >= 0 && made && PyType_Ready(&tracer_type) == 0 &&
               PyModule_AddObjectRef(module, "Tracer", (PyObject *)&tracer_type) == 0 &&
               PyModule_AddObjectRef(module, "set_trace", made) == 0;
    Py_XDECREF(made);
    return fine || forgotten();
}

#else /* `sys.monitoring` is there */

static int trace_by(Quick *quick, PyObject *function) { return done(PyObject_CallOneArg(quick->set_trace, function)); }
static int add_tracer(PyObject *module) { return 1; }

#endif
