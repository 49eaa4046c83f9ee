/* The attributes of Python's objects that are used here: where they lie in objects with `__slots__`; their names. */

#include "_slots.h"

enum { AT_KIND, AT_NAME }; /* of a place; see `Place` in `calls.py` */

#define OF_CALL(X)                                                                                                     \
    X(place) X(step) X(depth) X(forward) X(occurrence) X(start_ns) X(own_ns) X(parent) X(owner) X(body) X(arguments)   \
    X(result) X(equations) X(given) X(returned) X(seen) X(noted) X(hooked) X(muted) X(attends) X(direct) X(held)    \
    X(before) X(latest)
#define OF_STATE(X) X(stack) X(counts) X(own) X(began) X(entered) X(later) X(busy) X(dark) X(collectors) X(stopping)
#define OF_WATCHED(X) X(module) X(muted) X(names) X(body) X(parameters) X(places) X(children) X(described)
#define OF_HOOKED(X) X(frame) X(caller) X(error) X(room)
#define OF_BODY(X) X(_at) X(_call) X(_lines) X(_recording) X(_step)
#define OF_LINE(X) X(binds) X(place)
#define OF_LOCAL(X) X(_body)
#define OF_ENTERING(X) X(recording)

static struct { PyTypeObject *type; OF_CALL(AS_PLACE) } of_call;
static struct { PyTypeObject *type; OF_STATE(AS_PLACE) } of_state;
static struct { PyTypeObject *type; OF_WATCHED(AS_PLACE) } of_watched;
static struct { PyTypeObject *type; OF_HOOKED(AS_PLACE) } of_hooked;
static struct { PyTypeObject *type; OF_BODY(AS_PLACE) } of_body;
static struct { PyTypeObject *type; OF_LINE(AS_PLACE) } of_line;
static struct { PyTypeObject *type; OF_LOCAL(AS_PLACE) } of_local;
static struct { PyTypeObject *type; OF_ENTERING(AS_PLACE) } of_entering;
static const char *const call_slots[] = {OF_CALL(AS_TEXT) NULL}, *const state_slots[] = {OF_STATE(AS_TEXT) NULL},
                         *const watched_slots[] = {OF_WATCHED(AS_TEXT) NULL},
                         *const hooked_slots[] = {OF_HOOKED(AS_TEXT) NULL},
                         *const body_slots[] = {OF_BODY(AS_TEXT) NULL}, *const line_slots[] = {OF_LINE(AS_TEXT) NULL},
                         *const local_slots[] = {OF_LOCAL(AS_TEXT) NULL},
                         *const entering_slots[] = {OF_ENTERING(AS_TEXT) NULL};

/* Words of the trace's format, and names of attributes; the private ones of torch come from `torch_internals.py`. */
#define WORDS(X)                                                                                                       \
    X(advance, "_advance") X(attention, "attention") X(begin, "begin") X(broke, "broke") X(called, "called")           \
    X(collect, "_collect") X(conclude, "_conclude") X(describe, "describe") X(do_later, "_do_later") X(dunder, "__")   \
    X(enter, "__enter__") X(equation, "equation") X(equations, "_equations") X(exit, "__exit__")                       \
    X(f_lasti, "f_lasti") X(finish, "finish") X(id, "id")                                                              \
    X(f_locals, "f_locals") X(f_trace, "f_trace") X(f_trace_lines, "f_trace_lines") X(forward, "forward")              \
    X(forwards, "_forwards") X(full, "full") X(function, "function") X(function_places, "_places") X(input, "input")   \
    X(is_neg, "is_neg") X(key, "key") X(leave, "leave") X(left, "_left") X(line, "line") X(lines, "lines")             \
    X(lines_of, "_lines") X(local, "local") X(locals, "locals") X(module, "module") X(nesting, "_nesting")             \
    X(no_part, "") X(offset, "storage_offset") X(on_left, "on_left") X(on_module, "on_module") X(op, "op")             \
    X(output, "output") X(over, "over") X(parameter, "parameter") X(query, "query") X(quick, "quick")                  \
    X(result, "result") X(see_any, "see_any") X(seen, "_seen") X(self, "self") X(settle, "settle")                     \
    X(settled, "_settled") X(start, "_start") X(state, "state") X(step_rows, "_steps") X(steps, "steps")               \
    X(tensors, "tensors") X(tracing, "tracing") X(value, "value") X(waiting, "_waiting") X(was_returned, "returned")   \
    X(watch, "watch") X(ways, "_ways") X(written, "_written")
#define PRIVATE(X)                                                                                                     \
    X(address, "STORAGE_ADDRESS") X(base, "BASE") X(call_impl, "CALL_IMPL") X(hooks, "FORWARD_HOOKS")                  \
    X(modules, "MODULES") X(parameters, "PARAMETERS") X(pre_hooks, "FORWARD_PRE_HOOKS") X(version, "VERSION")

#define AS_WORD(NAME, TEXT) PyObject *NAME;
#define AS_ENTRY(NAME, TEXT) {&word.NAME, TEXT},
static struct {
    WORDS(AS_WORD) PRIVATE(AS_WORD)
} word;
static const struct {
    PyObject **word;
    const char *text;
} words[] = {WORDS(AS_ENTRY)}, private[] = {PRIVATE(AS_ENTRY)};

static int find_words(void) {
    for (size_t at = 0; at < sizeof words / sizeof *words; at++)
        if (!(*words[at].word = PyUnicode_InternFromString(words[at].text))) return 0;
    PyObject *internals = PyImport_ImportModule("tftrace.capture.torch_internals");
    for (size_t at = 0; internals && at < sizeof private / sizeof *private; at++) {
        if (!(*private[at].word = PyObject_GetAttrString(internals, private[at].text))) return 0;
        PyUnicode_InternInPlace(private[at].word);
    }
    Py_XDECREF(internals);
    return internals != NULL;
}

/* Another object with the same attributes. */
static PyObject *copied(PyObject *like) {
    PyTypeObject *type = Py_TYPE(like);
    PyObject *made = type->tp_alloc(type, 0);
    for (Py_ssize_t at = sizeof(PyObject); made && at < type->tp_basicsize; at += sizeof(PyObject *))
        SLOT(made, at) = Py_XNewRef(SLOT(like, at));
    return made;
}
