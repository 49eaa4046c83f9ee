/* `Identities.of` and `TokenPrints.keep` for what most tensors are: plain ones on the host, of real numbers. They use
   the dicts of these objects, with the same keys, and hand them every other tensor. */

#include "_dlpack.h"

enum { MOST_VIEWS = 1 << 16, MOST_FORMS = 4096, MOST_AXES = 64 };                    /* as in `identity.py` */
enum { FORM_SHAPE, FORM_STRIDE, FORM_DTYPE, FORM_DESCRIBED, FORM_DENSE, FORM_WAYS }; /* of a `form`: `quick_calls.py` */
enum { WAY_AXIS, WAY_SIZE = 3, WAY_WEIGHTS };                                        /* of `token_prints.py` */
enum { NUMEL = 3, DESCRIBED = 5 };
enum { AXIS_BITS = 2 };

typedef struct {
    PyObject *of, *summary, *form, *weak_storage;  /* what Python does */
    PyObject *stats, *prints;                      /* `at` of `_stats.c` and `_prints.c`: they are compiled */
    PyObject *views, *storages, *stretches, *next; /* of the identities */
    PyObject *keep;                                /* takes every tensor that a step sees, if anything is kept */
    PyObject *kept;                                /* the attributes of the prints, if nothing else is kept */
    PyObject *forms;                               /* by what torch tells of a tensor */
} Records;

typedef PyObject *(*SummaryAt)(const char *data, const Told *told);
typedef PyObject *(*PrintAt)(const char *data, const Told *told, int axis, const Py_buffer *weights);

/* What is known of a plain tensor on the host beside its record: no form if Python has made that, and no address before
   it is needed. */
typedef struct {
    Told told;
    PyObject *form;
    char *data;
    int negative;
} Plain;

static PyTypeObject *tensor_type, *parameter_type;

static inline int is_plain(PyObject *value) {
    return Py_TYPE(value) == tensor_type || Py_TYPE(value) == parameter_type;
}

/* What is known of all tensors of a form. */
static PyObject *form_of(Records *all, PyObject *tensor, const Told *told) {
    int64_t told_of[2 + 2 * MOST_AXES] = {told->dtype.code | told->dtype.bits << 8, told->dims};
    memcpy(told_of + 2, told->shape, told->dims * sizeof *told_of);
    memcpy(told_of + 2 + told->dims, told->strides, told->dims * sizeof *told_of);
    PyObject *key = PyBytes_FromStringAndSize((char *)told_of, (2 + 2 * told->dims) * (Py_ssize_t)sizeof *told_of);
    PyObject *form = key ? Py_XNewRef(PyDict_GetItemWithError(all->forms, key)) : NULL;
    if (key && !form && !PyErr_Occurred()) {
        if (PyDict_GET_SIZE(all->forms) >= MOST_FORMS) PyDict_Clear(all->forms);
        form = PyObject_CallOneArg(all->form, tensor);
        if (form && PyDict_SetItem(all->forms, key, form) < 0) Py_CLEAR(form);
    }
    Py_XDECREF(key);
    return form;
}

/* The statistics of a tensor. */
static PyObject *summary_of(Records *all, PyObject *tensor, PyObject *memory, Plain *plain) {
    SummaryAt summary_at = plain->negative ? NULL : (SummaryAt)function_of(all->stats);
    if (summary_at && (plain->data = memory_in(memory, &plain->told))) {
        PyObject *found = summary_at(plain->data, &plain->told);
        if (found != Py_None) return found;
        Py_DECREF(found);
    }
    return PyObject_CallOneArg(all->summary, tensor);
}

/* The same of a tensor whose elements fill a stretch of a storage, which other views may fill as well. */
static PyObject *summary_in(Records *all, PyObject *tensor, PyObject *view, PyObject *memory, Plain *plain) {
    PyObject *described = PyTuple_GET_ITEM(plain->form, FORM_DESCRIBED);
    if (PyTuple_GET_ITEM(plain->form, FORM_DENSE) != Py_True) return summary_of(all, tensor, memory, plain);
    PyObject *stretch = PyTuple_Pack(6, PyTuple_GET_ITEM(view, 0), PyTuple_GET_ITEM(view, 1), PyTuple_GET_ITEM(view, 2),
                                     PyTuple_GET_ITEM(described, NUMEL), PyTuple_GET_ITEM(plain->form, FORM_DTYPE),
                                     PyTuple_GET_ITEM(view, 6));
    PyObject *found = stretch ? Py_XNewRef(PyDict_GetItemWithError(all->stretches, stretch)) : NULL;
    if (stretch && !found && !PyErr_Occurred()) {
        found = summary_of(all, tensor, memory, plain);
        if (found && PyDict_SetItem(all->stretches, stretch, found) < 0) Py_CLEAR(found);
    }
    Py_XDECREF(stretch);
    return found;
}

/* Make the record of a view that is new. */
static PyObject *new_record(Records *all, PyObject *tensor, PyObject *view, PyObject *memory, Plain *plain) {
    PyObject *address = PyTuple_GET_ITEM(view, 0), *described = PyTuple_GET_ITEM(plain->form, FORM_DESCRIBED);
    int known = PyDict_Contains(all->storages, address);
    if (known == 0) {
        PyObject *weak = PyObject_CallMethodNoArgs(memory, all->weak_storage);
        known = weak ? PyDict_SetItem(all->storages, address, weak) : -1;
        Py_XDECREF(weak);
    }
    if (known < 0) return NULL;
    if (PyDict_GET_SIZE(all->views) >= MOST_VIEWS) PyDict_Clear(all->views), PyDict_Clear(all->stretches);
    PyObject *summary = summary_in(all, tensor, view, memory, plain);
    PyObject *number = summary ? PyIter_Next(all->next) : NULL, *record = number ? PyTuple_New(2 + DESCRIBED) : NULL;
    if (record) {
        PyTuple_SET_ITEM(record, 0, Py_NewRef(number));
        for (int at = 0; at < DESCRIBED; at++)
            PyTuple_SET_ITEM(record, 1 + at, Py_NewRef(PyTuple_GET_ITEM(described, at)));
        PyTuple_SET_ITEM(record, 1 + DESCRIBED, Py_NewRef(summary));
        if (PyDict_SetItem(all->views, view, record) < 0) Py_CLEAR(record);
    }
    Py_XDECREF(number);
    Py_XDECREF(summary);
    return record;
}

static int is_real(const Told *told) {
    int code = told->dtype.code;
    return (code <= FLOAT || code == BFLOAT || code == BOOL) && told->dtype.lanes == 1 && told->dims <= MOST_AXES;
}

/* What a plain tensor is; its record is returned. */
static PyObject *record_of(Records *all, PyObject *tensor, PyObject *seen, Plain *plain) {
    Told *told = &plain->told;
    PyObject *parts[7] = {0}, *view = NULL, *record = NULL;
    int told_it = exchange->tell(tensor, told) == 0 && told->device.type == HOST && is_real(told);
    PyObject *memory = told_it ? PyObject_CallMethodNoArgs(tensor, storage_name) : NULL;
    if (memory && (parts[0] = PyObject_GetAttr(memory, word.address)) &&
        (parts[1] = PyObject_GetAttr(tensor, word.version)) &&
        (parts[2] = PyObject_CallMethodNoArgs(tensor, word.offset)) &&
        (parts[6] = PyObject_CallMethodNoArgs(tensor, word.is_neg)) && (plain->form = form_of(all, tensor, told))) {
        plain->negative = parts[6] != Py_False;
        for (int at = FORM_SHAPE; at <= FORM_DTYPE; at++) parts[3 + at] = Py_NewRef(PyTuple_GET_ITEM(plain->form, at));
        if ((view = PyTuple_New(7)))
            for (int at = 0; at < 7; at++) PyTuple_SET_ITEM(view, at, parts[at]), parts[at] = NULL;
    }
    if (view) {
        PyObject *id = seen ? PyLong_FromVoidPtr(tensor) : NULL;
        if (!seen || (id && PyDict_SetItem(seen, id, view) == 0)) {
            record = Py_XNewRef(PyDict_GetItemWithError(all->views, view));
            if (!record && !PyErr_Occurred()) record = new_record(all, tensor, view, memory, plain);
        }
        Py_XDECREF(id);
        Py_DECREF(view);
    } else {
        for (int at = 0; at < 7; at++) Py_XDECREF(parts[at]);
        if (forgotten()) /* it was made in inference mode, has no storage, … */
            record = PyObject_CallFunctionObjArgs(all->of, tensor, seen ? seen : Py_None, NULL);
    }
    Py_XDECREF(memory);
    return record;
}

/* Take a print of a tensor; 0 if Python has to do it, -1 with an error. */
static int take_print(Records *all, PyObject *number, const Plain *plain, PyObject *way) {
    PyObject *axis = PyTuple_GET_ITEM(way, WAY_AXIS), *found = NULL;
    PrintAt print_at = (PrintAt)function_of(all->prints);
    Py_buffer weights;
    if (print_at && PyObject_GetBuffer(PyTuple_GET_ITEM(way, WAY_WEIGHTS), &weights, PyBUF_SIMPLE) == 0) {
        found = print_at(plain->data, &plain->told, (int)PyLong_AsLong(axis), &weights);
        PyBuffer_Release(&weights);
    }
    PyObject *waiting = found ? own_of(all->kept, word.waiting) : NULL;
    PyObject *ways = waiting ? own_of(all->kept, word.ways) : NULL, *left = ways ? own_of(all->kept, word.left) : NULL;
    PyObject *less = left ? PyNumber_Subtract(left, PyTuple_GET_ITEM(way, WAY_SIZE)) : NULL;
    PyObject *key = PyLong_FromLongLong(PyLong_AsLongLong(number) << AXIS_BITS | PyLong_AsLongLong(axis));
    int done = !less || !key || !found || PyErr_Occurred() ? -1 : found != Py_None;
    if (done > 0 && (PyDict_SetItem(waiting, key, found) < 0 || PyDict_SetItem(ways, key, way) < 0 ||
                     PyDict_SetItem(all->kept, word.left, less) < 0))
        done = -1;
    Py_XDECREF(found);
    Py_XDECREF(key);
    Py_XDECREF(less);
    return done;
}

/* Whether the prints of a tensor are taken here: those of a plain tensor that is no weight, while there is room. */
static int takes_prints(Records *all, PyObject *tensor, PyObject *role, Plain *plain) {
    if (!plain->form || plain->negative || !all->prints || role == word.parameter || Py_TYPE(tensor) != tensor_type)
        return 0;
    PyObject *full = own_of(all->kept, word.full), *left = own_of(all->kept, word.left);
    if (!full || !left) return -1;
    long long room = PyLong_AsLongLong(left);
    PyObject *ways = PyTuple_GET_ITEM(plain->form, FORM_WAYS);
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(ways); at++)
        room -= PyLong_AsLongLong(PyTuple_GET_ITEM(PyTuple_GET_ITEM(ways, at), WAY_SIZE));
    if (full != Py_False || room < 0 || (!plain->data && !(plain->data = memory_of(tensor, &plain->told)))) return 0;
    PyObject *base = PyObject_GetAttr(tensor, word.base);
    int taken = base ? Py_TYPE(base) != parameter_type : -1;
    Py_XDECREF(base);
    return taken;
}

/* Keep a tensor that a step sees, or its prints. */
static int keep(Records *all, PyObject *record, PyObject *tensor, PyObject *name, PyObject *role, PyObject *part,
                Plain *plain) {
    PyObject *seen = all->kept ? own_of(all->kept, word.seen) : NULL, *number = PyTuple_GET_ITEM(record, 0);
    int known = seen ? PySet_Contains(seen, number) : all->kept ? -1 : 0;
    if (known) return known < 0 ? -1 : 0;
    int takes = all->kept ? takes_prints(all, tensor, role, plain) : 0;
    if (takes > 0) {
        PyObject *ways = PyTuple_GET_ITEM(plain->form, FORM_WAYS);
        for (Py_ssize_t at = 0; takes > 0 && at < PyTuple_GET_SIZE(ways); at++)
            takes = take_print(all, number, plain, PyTuple_GET_ITEM(ways, at));
        if (takes > 0) return PySet_Add(seen, number);
    }
    if (takes < 0) return -1;
    return done(PyObject_CallFunctionObjArgs(all->keep, record, tensor, name, role, part, NULL));
}
