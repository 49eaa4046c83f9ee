/* The checks of a recording: `Finder.begin` and `Checker.finish` for a call like one before. */

#include "_plans.h"

enum { AT_KIND, AT_NAME, AT_TYPE, AT_FILE = 8 }; /* of a place; see `Place` in `calls.py` */
enum { MOST_FOUND = 32 };                        /* tensors of an equation */

#define OF_KNOWN(X) X(owner) X(overwrites) X(chained) X(attends) X(always) X(plans) X(wanted)
static struct {
    PyTypeObject *type;
    OF_KNOWN(AS_PLACE)
} of_known;
static const char *const known_slots[] = {OF_KNOWN(AS_TEXT) NULL};

#define CHECK_WORDS(X)                                                                                                 \
    X(begin_anew, "begin_anew")                                                                                        \
    X(beside, "_beside") X(cpu, "cpu") X(edited, "_edited") X(finish_from, "finish_from") X(group, "group")            \
        X(held, "_held") X(note, "note") X(note_masks, "_note_masks") X(passed, "passed") X(precision, "_precision")   \
            X(row, "row") X(rows, "_rows") X(training, "training") X(units, "units") X(weight, "weight")
#define AS_WORD(NAME, TEXT) PyObject *NAME;
#define AS_ENTRY(NAME, TEXT) {&word.NAME, TEXT},
static struct {
    CHECK_WORDS(AS_WORD)
} word;
static const struct {
    PyObject **word;
    const char *text;
} words[] = {CHECK_WORDS(AS_ENTRY)};

#define OF_CHECKS(X)                                                                                                   \
    X(checker)                                                                                                         \
    X(own)                                                                                                             \
    X(verdicts)                                                                                                        \
    X(of_verdicts) X(numbers) X(noted) X(modules) X(functions) X(inexact) X(autocast) X(holds) X(module) X(most)
typedef struct {
    PyObject_HEAD OF_CHECKS(AS_OBJECT) /* see `Checks` in `_route.pyi` */
} Checks;

static PyTypeObject *tensor_type, *parameter_type;

/* -- a call begins ---------------------------------------------------------------------------------------------- */

/* What is known of the module or function that is called, borrowed; NULL if nothing is. */
static PyObject *known_of(Checks *checks, PyObject *call) {
    PyObject *place = SLOT(call, of_call.place), *owner = SLOT(call, of_call.owner);
    int of_module = SLOT(call, of_call.direct) == Py_True || PyTuple_GET_ITEM(place, AT_KIND) == checks->module;
    PyObject *key =
        of_module ? PyLong_FromVoidPtr(owner)
                  : PyTuple_Pack(3, PyTuple_GET_ITEM(place, AT_TYPE), Py_TYPE(owner), PyTuple_GET_ITEM(place, AT_FILE));
    PyObject *known = key ? PyDict_GetItemWithError(of_module ? checks->modules : checks->functions, key) : NULL;
    Py_XDECREF(key);
    if (!known || Py_TYPE(known) != of_known.type || !of_module) return known;
    PyObject *kept = SLOT(known, of_known.owner);
    return PyWeakref_Check(kept) && PyWeakref_GetObject(kept) == owner ? known : NULL;
}

/* The path of the module in which a call runs; see `Call.scope`. */
static PyObject *scope_of(Checks *checks, PyObject *call) {
    for (PyObject *at = call; at != Py_None; at = SLOT(at, of_call.parent))
        if (PyTuple_GET_ITEM(SLOT(at, of_call.place), AT_KIND) == checks->module)
            return PyTuple_GET_ITEM(SLOT(at, of_call.place), AT_NAME);
    return PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_NAME);
}

/* `Finder.begin`; 0 if Python has to, -1 with an error. */
static int begun(Checks *checks, PyObject *call) {
    PyObject *known = SLOT(call, of_call.parent) == Py_None ? NULL : known_of(checks, call);
    PyObject *always = known ? SLOT(known, of_known.always) : Py_None, *wanted = NULL;
    if (PyErr_Occurred()) return -1;
    if (always == Py_None || SLOT(known, of_known.chained) != Py_False) return 0;
    PyObject *equations = PyTuple_GET_ITEM(always, 0), *seen = NULL;
    if (SLOT(known, of_known.overwrites) != Py_False && PyTuple_GET_SIZE(equations)) return 0;
    if (PyTuple_GET_ITEM(always, 1) != Py_None) {
        wanted = PyDict_GetItemWithError(SLOT(known, of_known.wanted), scope_of(checks, call));
        if (!wanted && !PyErr_Occurred()) return 0;
        if (!wanted || !(seen = PyDict_New())) return -1;
        put(call, of_call.seen, seen);
        put(call, of_call.wanted, Py_NewRef(wanted));
    }
    put(call, of_call.known, Py_NewRef(known));
    put(call, of_call.equations, Py_NewRef(equations));
    if (SLOT(known, of_known.attends) == Py_True) put(call, of_call.attends, Py_NewRef(Py_True));
    return 1;
}

/* begin(call): `Checker.begin`. */
static PyObject *begin_check(Checks *checks, PyObject *call) {
    int found = Py_TYPE(call) == of_call.type ? begun(checks, call) : 0; /* of a module that was imported twice */
    if (found == 0) return PyObject_CallMethodOneArg(checks->checker, word.begin_anew, call);
    return found < 0 ? NULL : Py_NewRef(Py_None);
}

/* -- a call has returned ---------------------------------------------------------------------------------------- */

/* Whether nothing about its module makes a call inexact; see `_inexact` in `checker.py`. */
static int is_exact(Checks *checks, PyObject *call) {
    PyObject *owner = SLOT(call, of_call.owner);
    if (!PyObject_TypeCheck(owner, module_type)) return 1;
    PyObject *own = PyObject_GenericGetDict(owner, NULL);
    PyObject *parameters = own ? PyDict_GetItemWithError(own, names.parameters) : NULL;
    PyObject *training = parameters ? PyDict_GetItemWithError(own, word.training) : NULL;
    PyObject *weight =
        training && PyDict_Check(parameters) ? PyDict_GetItemWithError(parameters, word.weight) : Py_None;
    int plain = !weight || weight == Py_None || Py_TYPE(weight) == parameter_type || Py_TYPE(weight) == tensor_type;
    Py_XDECREF(own);
    if (PyErr_Occurred()) return -1;
    if (training == Py_False && plain) return 1;
    PyObject *why = PyObject_CallOneArg(checks->inexact, owner);
    Py_XDECREF(why);
    return why ? why == Py_None : -1;
}

/* The plan for an equation of a call; NULL if there is none. */
static Plan *plan_of(PyObject *call, PyObject *match) {
    PyObject *known = SLOT(call, of_call.known), *key = PyLong_FromVoidPtr(match);
    if (!key || Py_TYPE(known) != of_known.type) return Py_XDECREF(key), NULL;
    PyObject *plan = PyDict_GetItemWithError(SLOT(known, of_known.plans), key);
    Py_DECREF(key);
    if (plan && PyDict_Check(plan)) { /* what is stated differs from owner to owner */
        if (!(key = PyLong_FromVoidPtr(SLOT(call, of_call.owner)))) return NULL;
        plan = PyDict_GetItemWithError(plan, key);
        Py_DECREF(key);
    }
    return plan && Py_TYPE(plan) == &plan_type ? (Plan *)Py_NewRef(plan) : NULL;
}

/* `NumbersWriter.note`. */
static int note_numbers(Checks *checks, Plan *plan, PyObject *call) {
    PyObject *name = PyTuple_GET_ITEM(SLOT(call, of_call.place), AT_NAME), *key = PyTuple_Pack(2, name, plan->id);
    PyObject *last = key ? PyDict_GetItemWithError(checks->noted, key) : NULL;
    Py_XDECREF(key);
    if (!key || PyErr_Occurred()) return -1;
    PyObject *all[] = {checks->numbers, SLOT(call, of_call.step), name, plan->id, plan->numbers};
    return last == plan->numbers ? 0 : done(PyObject_VectorcallMethod(word.note, all, 5, NULL));
}

/* `Verdicts.passed`. */
static int pass_on(Checks *checks, Plan *plan, PyObject *call, PyObject *order) {
    PyObject *step = SLOT(call, of_call.step), *edited = own_of(checks->of_verdicts, word.edited);
    PyObject *rows = edited ? own_of(checks->of_verdicts, word.rows) : NULL;
    if (!rows) return -1;
    if (PyDict_GET_SIZE(edited)) {
        PyObject *all[] = {checks->verdicts, step, order, plan->match, plan->cells};
        return done(PyObject_VectorcallMethod(word.passed, all, 5, NULL));
    }
    PyObject *row = Py_BuildValue("OO(OOOddOOO)", step, order, step, plan->id, checks->holds, 0.0, 0.0, plan->cells,
                                  Py_None, Py_None);
    int bad = !row || PyList_Append(rows, row) < 0;
    Py_XDECREF(row);
    return bad ? -1 : 0;
}

/* `Reading.units`, borrowed; NULL without an error if autocast is on. */
static PyObject *units_of(Checks *checks, Plan *plan) {
    if (plan->products != Py_True) return plan->usual;
    PyObject *on = PyObject_CallOneArg(checks->autocast, word.cpu);
    Py_XDECREF(on);
    PyObject *precision = on == Py_False ? own_of(checks->own, word.precision) : NULL;
    if (!precision || precision == plan->precision) return precision ? plan->units : NULL;
    PyObject *all[] = {plan->reading, Py_None, precision}, *units = PyObject_VectorcallMethod(word.units, all, 3, NULL);
    if (!units) return NULL;
    Py_XSETREF(plan->units, units);
    Py_XSETREF(plan->precision, Py_NewRef(precision));
    return units;
}

/* `Verdicts.group` and `Group.row`: the group that a step goes into, borrowed, which has room for it. */
static PyObject *group_of(Checks *checks, Plan *plan, PyObject *units, PyObject *evidence) {
    PyObject *group = plan->group;
    int same = group && equal(SLOT(group, of_group.evidence), evidence) == 1 &&
               equal(SLOT(group, of_group.units), units) == 1 && PyList_GET_SIZE(SLOT(group, of_group.steps));
    if (PyErr_Occurred()) return NULL;
    if (!same) {
        PyObject *all[] = {checks->verdicts, group ? group : Py_None, plan->reading, plan->match, units, evidence};
        group = PyObject_VectorcallMethod(word.group, all, 6, NULL);
        if (!group || Py_TYPE(group) != of_group.type) return Py_XDECREF(group), NULL;
        Py_XSETREF(plan->group, group);
    }
    PyObject *all[] = {group, plan->forms};
    int full = PyList_GET_SIZE(SLOT(group, of_group.steps)) == PyLong_AsSsize_t(SLOT(group, of_group._room));
    return full && done(PyObject_VectorcallMethod(word.row, all, 2, NULL)) < 0 ? NULL : group;
}

/* Whether a group is judged, or all that waits, once it has taken another step: then Python has to. */
static int is_due(Checks *checks, PyObject *group, PyObject *held) {
    return PyList_GET_SIZE(SLOT(group, of_group.steps)) + 1 >= PyLong_AsSsize_t(SLOT(group, of_group.together)) ||
           PyLong_AsLongLong(held) + PyLong_AsLongLong(SLOT(group, of_group.cells)) > PyLong_AsLongLong(checks->most) ||
           PyList_GET_SIZE(SLOT(group, of_group.awaited));
}

/* Copy the cells of a step into the next row of a group, and note it: `Verdicts.took`. */
static int take(Checks *checks, Plan *plan, PyObject *call, PyObject *order, PyObject *group, char *const *addresses) {
    PyObject *steps = SLOT(group, of_group.steps), *step = SLOT(call, of_call.step);
    PyObject *held = own_of(checks->of_verdicts, word.held);
    if (!held || PyErr_Occurred()) return -1;
    if (is_due(checks, group, held)) return 0;
    int copied = copy_cells((void *)PyBytes_AS_STRING(plan->layout), addresses, plan->found,
                            PyLong_AsUnsignedLongLongMask(step), SLOT(group, of_group.bases), PyList_GET_SIZE(steps));
    if (copied != 1) return copied;
    PyObject *all[] = {checks->checker, plan->reading, plan->match, call, order};
    if (plan->masks == Py_True && done(PyObject_VectorcallMethod(word.note_masks, all, 5, NULL)) < 0) return -1;
    PyObject *sum = PyNumber_Add(held, SLOT(group, of_group.cells));
    int bad = !sum || PyDict_SetItem(checks->of_verdicts, word.held, sum) < 0 || PyList_Append(steps, step) < 0 ||
              PyList_Append(SLOT(group, of_group.orders), order) < 0;
    Py_XDECREF(sum);
    return bad ? -1 : 1;
}

/* `Checker._follow`; 0, or -1 with an error, before anything was done that Python would not do again. */
static int follow_plan(Checks *checks, Plan *plan, PyObject *call, PyObject *order, Looked *looked) {
    char *addresses[MOST_FOUND];
    int like = plan->found <= MOST_FOUND ? is_like(plan, call, looked, addresses) : 0;
    if (like != 1) return like;
    if (plan->numbers != Py_None && note_numbers(checks, plan, call) < 0) return -1;
    if (are_same(plan->passed, addresses)) return pass_on(checks, plan, call, order) < 0 ? -1 : 1;
    PyObject *units = units_of(checks, plan), *group = NULL;
    if (units) group = group_of(checks, plan, units, are_same(plan->flows, addresses) ? plan->flowing : plan->guessed);
    if (!group) return PyErr_Occurred() ? -1 : 0;
    return take(checks, plan, call, order, group, addresses);
}

/* Check the equations of a call from this one on; which one Python has to do, or how many there are; -1 with an error.
 */
static Py_ssize_t followed(Checks *checks, PyObject *call, Py_ssize_t at) {
    PyObject *equations = SLOT(call, of_call.equations);
    Looked looked;
    looked.count = 0;
    int fine = at ? 1 : is_exact(checks, call);
    while (fine == 1 && at < PyTuple_GET_SIZE(equations)) {
        PyObject *order = PyLong_FromSsize_t(at);
        Plan *plan = order ? plan_of(call, PyTuple_GET_ITEM(equations, at)) : NULL;
        fine = plan ? follow_plan(checks, plan, call, order, &looked) : 0;
        at += fine == 1;
        Py_XDECREF(plan);
        Py_XDECREF(order);
    }
    return forgotten() ? at : -1;
}

/* follow(call, at): the same. */
static PyObject *follow(Checks *checks, PyObject *const *given, Py_ssize_t count) {
    if (count != 2) return PyErr_Format(PyExc_TypeError, "follow(call, at)");
    Py_ssize_t at = PyLong_AsSsize_t(given[1]);
    if (at >= 0 && Py_TYPE(given[0]) == of_call.type) at = followed(checks, given[0], at);
    return at < 0 && PyErr_Occurred() ? NULL : PyLong_FromSsize_t(at);
}

/* finish(call): `Checker.finish`. */
static PyObject *finish_check(Checks *checks, PyObject *call) {
    int ours = Py_TYPE(call) == of_call.type, edited = ours ? PyObject_IsTrue(SLOT(call, of_call.edited)) : 0;
    Py_ssize_t at = ours && edited == 0 ? followed(checks, call, 0) : 0;
    if (edited < 0 || at < 0) return NULL;
    if (ours && !edited && at == PyTuple_GET_SIZE(SLOT(call, of_call.equations))) return Py_NewRef(Py_None);
    PyObject *order = PyLong_FromSsize_t(at), *all[] = {checks->checker, call, order};
    PyObject *found = order ? PyObject_VectorcallMethod(word.finish_from, all, 3, NULL) : NULL;
    Py_XDECREF(order);
    return found;
}
