/* Copies the drawn cells of a step into the columns of a group: `Route.copy`. */

#include <stdint.h>
#include <string.h>

enum { MOST = 64 }; /* dimensions; `_MOST_DIMS` in `route.py` */

/* Copies elements that lie `step` bytes apart to where they lie close; bfloat16 becomes the float32 it is half of. */
static char *row_of(char *to, const char *from, int64_t count, int64_t step, int64_t width, int half) {
    if (half) {
        for (int64_t at = 0; at < count; at++, from += step, to += 4) {
            uint16_t bits;
            memcpy(&bits, from, 2);
            uint32_t whole = (uint32_t)bits << 16;
            memcpy(to, &whole, 4);
        }
        return to;
    }
    if (step == width) {
        memcpy(to, from, count * width);
        return to + count * width;
    }
    for (int64_t at = 0; at < count; at++, from += step, to += width) {
        if (width == 4) memcpy(to, from, 4); /* of a known width it is one move */
        else if (width == 8) memcpy(to, from, 8);
        else memcpy(to, from, width);
    }
    return to;
}

/* The same of a tensor of several dimensions. */
static void copy_rows(char *to, const char *from, const int64_t *sizes, const int64_t *steps, int64_t dims,
                      int64_t width, int half) {
    int64_t at[MOST] = {0};
    for (int64_t dim = 0; dim >= 0;) {
        to = row_of(to, from, sizes[dims - 1], steps[dims - 1], width, half);
        for (dim = dims - 2; dim >= 0; dim--) { /* the next row */
            from += steps[dim];
            if (++at[dim] < sizes[dim]) break;
            from -= sizes[dim] * steps[dim];
            at[dim] = 0;
        }
    }
}

/* Copy what a layout says (see `_layout` in `route.py`) from the tensors at some addresses into a row of the columns;
   -1 with an error if the layout is of another call. */
static int copy_cells(const int64_t *layout, char *const *addresses, Py_ssize_t tensors, uint64_t seed, PyObject *bases,
                      int64_t row) {
    int64_t starts[MOST], rooms = *layout++;
    if (rooms > MOST) return PyErr_Format(PyExc_IndexError, "too many dimensions are drawn"), -1;
    for (int64_t at = 0; at < rooms; at++) { /* as in `Reading.starts` */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        starts[at] = (seed >> 33) % (uint64_t)*layout++;
    }
    for (int64_t column = 0, columns = *layout++; column < columns; column++) {
        int64_t tensor = *layout++, width = *layout++, half = *layout++, bytes = *layout++;
        if (tensor >= tensors || column >= PyList_GET_SIZE(bases))
            return PyErr_Format(PyExc_IndexError, "the layout is of another call"), -1;
        char *base = PyLong_AsVoidPtr(PyList_GET_ITEM(bases, column));
        const char *from = addresses[tensor];
        if (PyErr_Occurred()) return -1;
        for (int64_t drawn = *layout++; drawn > 0; drawn--, layout += 2) from += starts[layout[0]] * layout[1];
        int64_t dims = *layout++; /* one at least */
        if (dims > MOST) return PyErr_Format(PyExc_IndexError, "a tensor has too many dimensions"), -1;
        copy_rows(base + row * bytes, from, layout, layout + dims, dims, width, (int)half);
        layout += 2 * dims;
    }
    return 0;
}
