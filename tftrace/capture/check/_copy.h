/* Copies the drawn cells of a step into the columns of a group: `Route.copy`. */

#include <stdint.h>
#include <string.h>

enum { MOST = 64, MOST_SELECTED = 1024 }; /* dimensions, as `_MOST_DIMS` in `route.py`; rows of a table */

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

enum { POSITIONS = -2, ROWS = -1 }; /* in the place of the index of a tensor */

/* How the drawn cells of a tensor lie: `Form.column` in `strided.py`. */
typedef struct {
    const char *from;
    const int64_t *sizes, *steps;
    int64_t dims, width, half, bytes;
} Column;

/* Read that; what follows it in the layout, or NULL with an error if the layout is of another call. */
static const int64_t *column_of(const int64_t *layout, char *const *addresses, Py_ssize_t tensors,
                                const int64_t *starts, Column *column) {
    int64_t tensor = *layout++;
    if (tensor < 0 || tensor >= tensors)
        return PyErr_SetString(PyExc_IndexError, "the layout is of another call"), NULL;
    column->width = *layout++, column->half = *layout++, column->bytes = *layout++;
    column->from = addresses[tensor] + *layout++;
    for (int64_t drawn = *layout++; drawn > 0; drawn--, layout += 2) column->from += starts[layout[0]] * layout[1];
    column->dims = *layout++; /* one at least */
    if (column->dims > MOST) return PyErr_SetString(PyExc_IndexError, "a tensor has too many dimensions"), NULL;
    column->sizes = layout, column->steps = layout + column->dims;
    return layout + 2 * column->dims;
}

static void copy_column(char *to, const char *from, const Column *column) {
    copy_rows(to, from, column->sizes, column->steps, column->dims, column->width, (int)column->half);
}

/* Copy the rows of a table that an index selects; 0 if they are too many, or one of them is not there. */
static int copy_selected(char *to, const Column *index, const Column *row, int64_t apart, int64_t count) {
    char selected[MOST_SELECTED * sizeof(int64_t)];
    if (index->bytes > (int64_t)sizeof selected) return 0;
    copy_column(selected, index->from, index);
    for (int64_t at = 0; at < index->bytes; at += index->width, to += row->bytes) {
        int64_t one;
        int32_t half;
        if (index->width == sizeof one) memcpy(&one, selected + at, sizeof one);
        else memcpy(&half, selected + at, sizeof half), one = half;
        if (one < 0 || one >= count) return 0;
        copy_column(to, row->from + one * apart, row);
    }
    return 1;
}

/* The positions themselves: `Positions.column` in `strided.py`. */
static void copy_positions(char *to, const int64_t *layout, const int64_t *starts) {
    int64_t position = layout[1] < 0 ? 0 : starts[layout[1]];
    for (int64_t at = 0; at < layout[3]; at++, position += layout[2], to += sizeof position)
        memcpy(to, &position, sizeof position);
}

/* Copy what a layout says (see `_layout` in `route.py`) from the tensors at some addresses into a row of the columns;
   0 if Python has to, -1 with an error if the layout is of another call. */
static int copy_cells(const int64_t *layout, char *const *addresses, Py_ssize_t tensors, uint64_t seed, PyObject *bases,
                      int64_t row) {
    int64_t starts[MOST], rooms = *layout++;
    if (rooms > MOST) return PyErr_SetString(PyExc_IndexError, "too many dimensions are drawn"), -1;
    for (int64_t at = 0; at < rooms; at++) { /* as in `Reading.starts` */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        starts[at] = (seed >> 33) % (uint64_t)*layout++;
    }
    for (int64_t at = 0, columns = *layout++; at < columns; at++) {
        char *to = at < PyList_GET_SIZE(bases) ? PyLong_AsVoidPtr(PyList_GET_ITEM(bases, at)) : NULL;
        if (!to) return PyErr_SetString(PyExc_IndexError, "the layout is of another call"), -1;
        int64_t kind = *layout;
        Column index, column;
        if (kind == POSITIONS) {
            copy_positions(to + row * layout[3] * (int64_t)sizeof *layout, layout, starts);
            layout += 4;
            continue;
        }
        if (kind == ROWS && !(layout = column_of(layout + 1, addresses, tensors, starts, &index))) return -1;
        if (!(layout = column_of(layout, addresses, tensors, starts, &column))) return -1;
        if (kind != ROWS) copy_column(to + row * column.bytes, column.from, &column);
        else if (!copy_selected(to + row * layout[0], &index, &column, layout[1], layout[2])) return 0;
        layout += kind == ROWS ? 3 : 0;
    }
    return 1;
}
