/* Columns of a table from the values of its rows: the loops over Python's objects of `arrays.py`, compiled.

A forward of a few milliseconds makes hundreds of rows, of which a value takes an eighth of the time that it takes
there. What is no value of its type is left to Python, which says what is wrong with it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>

/* The values of a column: of a list or tuple, all of them or those at some positions. */
typedef struct {
    PyObject *values;
    const int64_t *at;
    Py_ssize_t count;
    Py_buffer positions;
    char *known; /* a bit for each that is no None, lowest first */
    int missing; /* whether there is a None */
} Column;

/* Take a list or tuple and, as an array of int64, positions in it, or None; 0 with an error. */
static int take(Column *column, PyObject *values, PyObject *positions) {
    *column = (Column){.values = values};
    if (!PyList_Check(values) && !PyTuple_Check(values)) {
        PyErr_SetString(PyExc_TypeError, "values are a list or a tuple");
        return 0;
    }
    column->count = PySequence_Fast_GET_SIZE(values);
    if (positions != Py_None) {
        if (PyObject_GetBuffer(positions, &column->positions, PyBUF_SIMPLE) < 0) return 0;
        column->at = column->positions.buf;
        column->count = column->positions.len / (Py_ssize_t)sizeof *column->at;
    }
    for (Py_ssize_t row = 0; column->at && row < column->count; row++)
        if (column->at[row] < 0 || column->at[row] >= PySequence_Fast_GET_SIZE(values)) {
            PyErr_SetString(PyExc_IndexError, "a position is outside");
            PyBuffer_Release(&column->positions);
            return 0;
        }
    column->known = PyMem_Calloc((column->count + 7) / 8 + 1, 1);
    if (column->known) return 1;
    PyErr_NoMemory();
    if (positions != Py_None) PyBuffer_Release(&column->positions);
    return 0;
}

/* Let go of it. Returns what was made of it, with what is known appended; None for what was left to Python. */
static PyObject *given(Column *column, PyObject *made, int fine) {
    PyObject *known = column->missing && fine ? PyBytes_FromStringAndSize(column->known, (column->count + 7) / 8)
                                              : Py_NewRef(Py_None);
    PyMem_Free(column->known);
    if (column->at || column->positions.obj) PyBuffer_Release(&column->positions);
    if (fine && made && known) return Py_BuildValue("NN", made, known);
    Py_XDECREF(known);
    Py_XDECREF(made);
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_ValueError) && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* The value of a row, borrowed; NULL for None. */
static inline PyObject *value_of(Column *column, Py_ssize_t row) {
    PyObject *value = PySequence_Fast_GET_ITEM(column->values, column->at ? column->at[row] : row);
    if (value == Py_None) column->missing = 1;
    else column->known[row / 8] |= 1 << row % 8;
    return value == Py_None ? NULL : value;
}

/* Write a number as a type of the module `array`; whether it is one. */
static inline int put_number(PyObject *value, char code, char *to) {
    if (code == 'd') {
        if (value && !PyFloat_Check(value) && !PyLong_Check(value)) return 0;
        double number = value ? PyFloat_AsDouble(value) : 0;
        memcpy(to, &number, sizeof number);
        return number != -1 || !PyErr_Occurred();
    }
    if (value && !PyLong_Check(value)) return 0;
    int over = 0;
    long long number = value ? PyLong_AsLongLongAndOverflow(value, &over) : 0;
    if (over || (code == 'i' && (number < INT32_MIN || number > INT32_MAX)) ||
        (code == 'b' && (number < INT8_MIN || number > INT8_MAX)))
        return 0;
    if (code == 'q') memcpy(to, &number, sizeof number);
    else if (code == 'i') memcpy(to, &(int32_t){(int32_t)number}, sizeof(int32_t));
    else *to = (char)number;
    return 1;
}

/* numbers(values, at, code): their bytes, and which are known. */
static PyObject *numbers(PyObject *self, PyObject *args) {
    PyObject *values, *at;
    int code;
    Column column;
    if (!PyArg_ParseTuple(args, "OOC", &values, &at, &code) || !take(&column, values, at)) return NULL;
    Py_ssize_t size = code == 'i' ? sizeof(int32_t) : code == 'b' ? 1 : sizeof(int64_t);
    PyObject *made = PyBytes_FromStringAndSize(NULL, column.count * size);
    int fine = made != NULL;
    for (Py_ssize_t row = 0; fine && row < column.count; row++)
        fine = put_number(value_of(&column, row), (char)code, PyBytes_AS_STRING(made) + row * size);
    return given(&column, made, fine);
}

/* The bytes of a text, or those that a value is; NULL if it is neither. */
static const char *content_of(PyObject *value, Py_ssize_t *size) {
    *size = 0;
    if (!value) return "";
    if (PyUnicode_Check(value)) return PyUnicode_AsUTF8AndSize(value, size);
    if (!PyBytes_Check(value)) return NULL;
    *size = PyBytes_GET_SIZE(value);
    return PyBytes_AS_STRING(value);
}

/* How many elements a list or tuple has; -1 if a value is neither. */
static Py_ssize_t length_of(PyObject *value) {
    if (!value) return 0;
    return PyList_Check(value) || PyTuple_Check(value) ? PySequence_Fast_GET_SIZE(value) : -1;
}

/* Where the bytes or elements of each value end, as int32; NULL if a value has none, or they are too many. */
static PyObject *ends_of(Column *column, int lists) {
    PyObject *ends = PyBytes_FromStringAndSize(NULL, (column->count + 1) * (Py_ssize_t)sizeof(int32_t));
    Py_ssize_t all = 0, size;
    int32_t *end = ends ? (int32_t *)PyBytes_AS_STRING(ends) : NULL;
    if (end) *end = 0;
    for (Py_ssize_t row = 0; ends && row < column->count; row++) {
        PyObject *value = value_of(column, row);
        if (lists) size = length_of(value);
        else if (!content_of(value, &size)) size = -1;
        if (size < 0 || (all += size) > INT32_MAX) Py_CLEAR(ends);
        else end[row + 1] = (int32_t)all;
    }
    return ends;
}

/* Write the elements of a list or tuple of whole numbers; whether they are such. */
static int put_elements(PyObject *value, char *to) {
    int fine = 1;
    for (Py_ssize_t at = 0; fine && value && at < PySequence_Fast_GET_SIZE(value); at++) {
        PyObject *one = PySequence_Fast_GET_ITEM(value, at);
        fine = one != Py_None && put_number(one, 'q', to + at * sizeof(int64_t));
    }
    return fine;
}

/* Where each value ends, their bytes or elements one after the other, and which are known. */
static PyObject *joined(PyObject *args, int lists) {
    PyObject *values, *at, *ends, *made = NULL;
    Column column;
    if (!PyArg_ParseTuple(args, "OO", &values, &at) || !take(&column, values, at)) return NULL;
    int fine = (ends = ends_of(&column, lists)) != NULL;
    const int32_t *end = fine ? (int32_t *)PyBytes_AS_STRING(ends) : NULL;
    Py_ssize_t width = lists ? sizeof(int64_t) : 1, size;
    if (fine) fine = (made = PyBytes_FromStringAndSize(NULL, end[column.count] * width)) != NULL;
    for (Py_ssize_t row = 0; fine && row < column.count; row++) {
        PyObject *value = value_of(&column, row);
        char *to = PyBytes_AS_STRING(made) + end[row] * width;
        if (lists) fine = put_elements(value, to);
        else memcpy(to, content_of(value, &size), end[row + 1] - end[row]);
    }
    PyObject *both = fine ? PyTuple_Pack(2, ends, made) : NULL;
    Py_XDECREF(ends);
    Py_XDECREF(made);
    return given(&column, both, both != NULL);
}

/* texts(values, at): where each text ends, all of them one after the other, and which are known. */
static PyObject *texts(PyObject *self, PyObject *args) { return joined(args, 0); }

/* lists(values, at): where each list of whole numbers ends, all of their elements, and which are known. */
static PyObject *lists(PyObject *self, PyObject *args) { return joined(args, 1); }

/* Write the numbers of a tuple as float64, NaN for None; how many there are, or -1. */
static Py_ssize_t put_floats(PyObject *tuple, double *to) {
    for (Py_ssize_t at = 0; at < PyTuple_GET_SIZE(tuple); at++) {
        PyObject *one = PyTuple_GET_ITEM(tuple, at);
        if (one == Py_None) to[at] = Py_NAN;
        else if (!put_number(one, 'd', (char *)(to + at))) return -1;
    }
    return PyTuple_GET_SIZE(tuple);
}

/* floats(values): the numbers of some tuples one after the other, as float64; None if Python has to. */
static PyObject *floats(PyObject *self, PyObject *values) {
    Py_ssize_t all = 0, done = 0;
    int fine = PyList_Check(values) || PyTuple_Check(values);
    for (Py_ssize_t at = 0; fine && at < PySequence_Fast_GET_SIZE(values); at++)
        if ((fine = PyTuple_Check(PySequence_Fast_GET_ITEM(values, at))))
            all += PyTuple_GET_SIZE(PySequence_Fast_GET_ITEM(values, at));
    PyObject *made = fine ? PyBytes_FromStringAndSize(NULL, all * (Py_ssize_t)sizeof(double)) : NULL;
    for (Py_ssize_t at = 0, size; made && at < PySequence_Fast_GET_SIZE(values); at++, done += size)
        if ((size = put_floats(PySequence_Fast_GET_ITEM(values, at), (double *)PyBytes_AS_STRING(made) + done)) < 0)
            Py_CLEAR(made);
    if (made) return made;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* distinct(values): the distinct objects in order of first appearance, and for each value its position among them. */
static PyObject *distinct(PyObject *self, PyObject *values) {
    if (!PyList_Check(values)) return PyErr_Format(PyExc_TypeError, "distinct(list)");
    Py_ssize_t count = PyList_GET_SIZE(values), room = 16;
    while (room < 2 * count) room *= 2;
    PyObject *found = PyList_New(0), *made = PyBytes_FromStringAndSize(NULL, count * (Py_ssize_t)sizeof(int64_t));
    struct {
        PyObject *object;
        int64_t at;
    } *table = PyMem_Calloc(room, sizeof *table);
    int fine = found && made && (table || PyErr_NoMemory());
    for (Py_ssize_t row = 0; fine && row < count; row++) {
        PyObject *object = PyList_GET_ITEM(values, row);
        size_t place = ((uintptr_t)object >> 4) * 0x9E3779B97F4A7C15u >> 20 & (size_t)(room - 1);
        while (table[place].object && table[place].object != object) place = (place + 1) & (size_t)(room - 1);
        if (!table[place].object) {
            table[place].object = object;
            table[place].at = PyList_GET_SIZE(found);
            fine = PyList_Append(found, object) == 0;
        }
        memcpy(PyBytes_AS_STRING(made) + row * sizeof(int64_t), &table[place].at, sizeof(int64_t));
    }
    PyMem_Free(table);
    if (fine) return Py_BuildValue("NN", found, made);
    Py_XDECREF(found);
    Py_XDECREF(made);
    return NULL;
}

static PyMethodDef functions[] = {
    {"numbers", numbers, METH_VARARGS, "numbers(values, at, code): their bytes, and which are known."},
    {"texts", texts, METH_VARARGS, "texts(values, at): where each ends and all of them, and which are known."},
    {"lists", lists, METH_VARARGS, "lists(values, at): where each ends and all elements, and which are known."},
    {"floats", floats, METH_O, "floats(tuples): all of their numbers as float64, NaN for None."},
    {"distinct", distinct, METH_O, "distinct(values): the distinct objects, and the position of each value."},
    {NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_columns", "Columns of a table.", -1, functions};

PyMODINIT_FUNC PyInit__columns(void) { return PyModule_Create(&definition); }
