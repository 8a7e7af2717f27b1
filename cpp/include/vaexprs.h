/* vaexprs: generate single-cell expression from an artifact (.onnx). C interface.
 *
 * The cells are those of Python's Generator(..., runtime="portable"), bit for bit, on every
 * machine.
 *
 * Functions that can fail return a status, write to their results only if it is VAEXPRS_OK, and
 * write a sentence to `error`, unless that is NULL. Nothing is thrown, printed or kept in global
 * state. Handles may be used by several threads at once, but where a function says otherwise. Texts
 * are UTF-8 and belong to their handle.
 */
#ifndef VAEXPRS_H
#define VAEXPRS_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) || defined(VAEXPRS_STATIC)
#define VAEXPRS_API
#else
#define VAEXPRS_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum vaexprs_status {
    VAEXPRS_OK = 0,
    VAEXPRS_END = 1,              /* no cells are left */
    VAEXPRS_BAD_FILE = 2,         /* cannot be read, or is no artifact */
    VAEXPRS_BAD_REQUEST = 3,      /* an argument, a key or a category */
    VAEXPRS_BUFFER_TOO_SMALL = 4, /* n_values says what is needed */
    VAEXPRS_DECODER_FAILED = 5,   /* the host's own */
    VAEXPRS_NO_MEMORY = 6,
    VAEXPRS_INTERNAL = 7
} vaexprs_status;

typedef struct vaexprs_error {
    char message[1024];
} vaexprs_error;

/* An opened artifact. Close it after its runs. */
typedef struct vaexprs_artifact vaexprs_artifact;
/* A request made ready. */
typedef struct vaexprs_run vaexprs_run;

VAEXPRS_API vaexprs_status vaexprs_open(const char* path, vaexprs_artifact** artifact,
                                        vaexprs_error* error);
/* The bytes need not outlive the call. */
VAEXPRS_API vaexprs_status vaexprs_open_bytes(const void* bytes, size_t n_bytes,
                                              vaexprs_artifact** artifact, vaexprs_error* error);
VAEXPRS_API void vaexprs_close(vaexprs_artifact* artifact);

VAEXPRS_API const char* vaexprs_version(void);
VAEXPRS_API const char* vaexprs_likelihood(const vaexprs_artifact* artifact);
VAEXPRS_API size_t vaexprs_n_genes(const vaexprs_artifact* artifact);
VAEXPRS_API size_t vaexprs_n_latent(const vaexprs_artifact* artifact);
VAEXPRS_API size_t vaexprs_n_keys(const vaexprs_artifact* artifact);
/* NULL, or 0, where there is no such gene, key or category. */
VAEXPRS_API const char* vaexprs_gene(const vaexprs_artifact* artifact, size_t gene);
VAEXPRS_API const char* vaexprs_key(const vaexprs_artifact* artifact, size_t key);
VAEXPRS_API size_t vaexprs_n_categories(const vaexprs_artifact* artifact, size_t key);
VAEXPRS_API const char* vaexprs_category(const vaexprs_artifact* artifact, size_t key, size_t code);

/* A category of a condition key. */
typedef struct vaexprs_condition {
    const char* key;
    const char* category;
} vaexprs_condition;

/* So many cells of some categories. Of a key named more than once any of its categories; keys that
 * are not named follow the training frequencies. */
typedef struct vaexprs_design_row {
    const vaexprs_condition* conditions;
    size_t n_conditions;
    uint64_t n_cells;
} vaexprs_design_row;

/* Computes the graph's outputs in place of the portable decoder (by onnxruntime, say); returns 0,
 * or another number where it fails. `inputs` are z, condition and library where the graph has them,
 * and `outputs` have room for rows of all cells, or for one where the graph declares one. Called
 * from the threads that ask for cells. */
typedef int (*vaexprs_decode)(void* context, const float* const* inputs, size_t n_cells,
                              float* const* outputs);

/* A request. Begin with vaexprs_default_options. */
typedef struct vaexprs_options {
    size_t size; /* of this struct, filled in by vaexprs_default_options */
    uint64_t seed;
    uint64_t first_cell;                 /* of vaexprs_next; 0 */
    uint64_t n_cells;                    /* of vaexprs_next; without a design it must be given */
    const vaexprs_condition* conditions; /* categories to choose from; all */
    size_t n_conditions;
    const vaexprs_design_row* design; /* in place of conditions: rows, one after the other */
    size_t n_design;
    float library;         /* total counts of every cell, in place of drawn ones; 0 for none */
    vaexprs_decode decode; /* NULL: the portable decoder */
    void* decode_context;
} vaexprs_options;

VAEXPRS_API void vaexprs_default_options(vaexprs_options* options);
/* Options need not outlive the call, but for decode_context. */
VAEXPRS_API vaexprs_status vaexprs_start(const vaexprs_artifact* artifact,
                                         const vaexprs_options* options, vaexprs_run** run,
                                         vaexprs_error* error);
VAEXPRS_API void vaexprs_stop(vaexprs_run* run);

/* Consecutive cells: values as rows of a sparse matrix (CSR), and what they were made from. */
typedef struct vaexprs_block {
    uint64_t first_cell;
    size_t n_cells;
    size_t n_values;
    const float* data;      /* n_values */
    const int32_t* indices; /* n_values, rising in a row */
    const int64_t* indptr;  /* n_cells + 1 */
    const int32_t* codes;   /* n_cells x n_keys */
    const uint8_t* unseen;  /* n_cells: 1 where training had no cell of these categories */
    const float* z;         /* n_cells x n_latent */
    const float* library;   /* n_cells, or NULL where the likelihood has none */
} vaexprs_block;

/* Makes the next block of a run. Its arrays belong to the run until the next call. One thread at a
 * time; for several, start a run for each, with first_cell and n_cells, or use vaexprs_fill. */
VAEXPRS_API vaexprs_status vaexprs_next(vaexprs_run* run, vaexprs_block* block,
                                        vaexprs_error* error);

/* The caller's memory for n_cells cells; NULL for what is not wanted. */
typedef struct vaexprs_buffers {
    size_t capacity; /* values that data and indices have room for */
    float* data;
    int32_t* indices;
    int64_t* indptr;
    int32_t* codes;
    uint8_t* unseen;
    float* z;
    float* library;
} vaexprs_buffers;

/* Makes any cells of a run, by any number of threads at once. Where there are more values than
 * `capacity`, *n_values says how many, and no buffer is touched. */
VAEXPRS_API vaexprs_status vaexprs_fill(const vaexprs_run* run, uint64_t first_cell, size_t n_cells,
                                        const vaexprs_buffers* buffers, size_t* n_values,
                                        vaexprs_error* error);

#ifdef __cplusplus
}
#endif

#endif
