/* Plans: what is remembered of a route (see `route.py`) and of what a module states, so that a call like the one before
   is checked without Python. */

#include "_copy.h"
#include "_found.h"

#define OF_GROUP(X) X(units) X(evidence) X(steps) X(orders) X(cells) X(together) X(bases) X(_room) X(awaited)
static struct {
    PyTypeObject *type;
    OF_GROUP(AS_PLACE)
} of_group;
static const char *const group_slots[] = {OF_GROUP(AS_TEXT) NULL};

#define OF_PLAN(X)                                                                                                     \
    X(match)                                                                                                           \
    X(id)                                                                                                              \
    X(owner)                                                                                                           \
    X(items) X(others) X(tensors) X(passed) X(flows) X(layout) X(forms) X(reading) X(numbers) X(masks) X(products)     \
        X(cells) X(usual) X(guessed) X(flowing)
#define AS_OBJECT(NAME) PyObject *NAME;
typedef struct {
    PyObject_HEAD OF_PLAN(AS_OBJECT) /* see `Plan` in `_route.pyi` */
        PyObject *group,
        *precision, *units;  /* those of the last call: units belong to a precision */
    Py_ssize_t count, found; /* how many items there are, and tensors */
    Item each[];
} Plan;
#define AS_PART(NAME) {#NAME, offsetof(Plan, NAME)},
static const Part of_plan[] = {OF_PLAN(AS_PART){NULL}};

static PyObject *made_plan(PyTypeObject *type, PyObject *args, PyObject *given) {
    PyObject *items = given ? PyDict_GetItemString(given, "items") : NULL;
    if (!items || !PyList_Check(items)) return PyErr_Format(PyExc_TypeError, "a plan is made of items");
    Plan *plan = (Plan *)put_together(type->tp_alloc(type, PyList_GET_SIZE(items)), of_plan, given);
    if (!plan) return NULL;
    Py_SETREF(plan->items, PyList_AsTuple(items)); /* which nobody changes, since `each` is what it holds */
    plan->count = plan->items ? PyTuple_GET_SIZE(plan->items) : 0;
    plan->found = PyList_GET_SIZE(plan->tensors);
    for (Py_ssize_t at = 0; plan->items && at < plan->count; at++) {
        if (item_of_tuple(PyTuple_GET_ITEM(plan->items, at), &plan->each[at]) < 0) Py_CLEAR(plan->items);
        else plan->found += plan->each[at].is_tensor;
    }
    if (!plan->items) Py_CLEAR(plan);
    return (PyObject *)plan;
}

static void gone_plan(PyObject *plan) {
    take_apart(plan, of_plan);
    Plan *own = (Plan *)plan;
    Py_CLEAR(own->group);
    Py_CLEAR(own->precision);
    Py_CLEAR(own->units);
    Py_TYPE(plan)->tp_free(plan);
}

static PyTypeObject plan_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "tftrace.capture.check._route.Plan",
    .tp_basicsize = sizeof(Plan),
    .tp_itemsize = sizeof(Item),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = made_plan,
    .tp_dealloc = gone_plan,
};

/* Whether what needs a function to be found is what it was: `others` are pairs of that and the value. */
static int same_others(Plan *plan, PyObject *call) {
    int same = 1;
    for (Py_ssize_t at = 0; same == 1 && at < PyList_GET_SIZE(plan->others); at++) {
        PyObject *pair = PyList_GET_ITEM(plan->others, at), *wanted = PyTuple_GET_ITEM(pair, 1);
        PyObject *found = PyObject_CallOneArg(PyTuple_GET_ITEM(pair, 0), call);
        same = !found ? -1 : found == wanted ? 1 : Py_TYPE(found) == Py_TYPE(wanted) ? equal(found, wanted) : 0;
        Py_XDECREF(found);
    }
    return same;
}

/* The same of tensors: `tensors` are what finds each, its class, and what is settled of it. */
static int same_tensors(Plan *plan, PyObject *call, char ***to) {
    int same = 1;
    for (Py_ssize_t at = 0; same == 1 && at < PyList_GET_SIZE(plan->tensors); at++) {
        PyObject **three = &PyTuple_GET_ITEM(PyList_GET_ITEM(plan->tensors, at), 0);
        PyObject *found = PyObject_CallOneArg(three[0], call);
        same = found ? (PyObject *)Py_TYPE(found) == three[1] : -1;
        const int64_t *settled = (void *)PyBytes_AS_STRING(three[2]);
        if (same == 1) same = gives(found, names.is_neg, settled[SIGN] ? Py_True : Py_False);
        char *begins = same == 1 ? address_of(found, settled, NULL) : NULL; /* it may have been made for us */
        if (same == 1) same = begins != NULL;
        if (same == 1) *(*to)++ = begins;
        Py_XDECREF(found);
    }
    return same;
}

/* Whether a call is like the one that made a plan; its tensors' addresses are put at `to`. */
static int is_like(Plan *plan, PyObject *call, Looked *looked, char **to) {
    if (plan->owner != Py_None && PyWeakref_GetObject(plan->owner) != SLOT(call, of_call.owner)) return 0;
    int same = 1;
    for (Py_ssize_t at = 0; same == 1 && at < plan->count; at++) same = same_item(&plan->each[at], call, looked, &to);
    if (same == 1) same = same_others(plan, call);
    return same == 1 ? same_tensors(plan, call, &to) : same;
}

/* Whether the tensors of each pair begin at the same address, and there are pairs. */
static int are_same(PyObject *pairs, char *const *addresses) {
    const int64_t *each = (void *)PyBytes_AS_STRING(pairs);
    Py_ssize_t count = PyBytes_GET_SIZE(pairs) / (2 * (Py_ssize_t)sizeof *each), at = 0;
    while (at < count && addresses[each[2 * at]] == addresses[each[2 * at + 1]]) at++;
    return count && at == count;
}
