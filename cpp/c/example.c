/* Writes cells of an artifact as CSR, 10,000 unless told otherwise:
 * example MODEL.onnx FOLDER [N_CELLS [KEY CATEGORY]]
 *
 * FOLDER gets indptr (64-bit integers), indices (32-bit) and data (float32), in the machine's byte
 * order: scipy.sparse.csr_matrix((data, indices, indptr)) of np.fromfile of each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <vaexprs.h>

static int fail(const char* message) {
    fprintf(stderr, "example: %s\n", message);
    return 1;
}

static FILE* create(const char* folder, const char* name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fopen(path, "wb");
}

int main(int n_words, char** words) {
    vaexprs_artifact* artifact = NULL;
    vaexprs_run* run = NULL;
    vaexprs_error error;
    vaexprs_options options;
    vaexprs_condition condition;
    vaexprs_block block;
    vaexprs_status status;
    int64_t end = 0;
    FILE *indptr, *indices, *data;

    if (n_words < 3 || n_words == 5 || n_words > 6)
        return fail("MODEL.onnx FOLDER [N_CELLS [KEY CATEGORY]]");
    if (vaexprs_open(words[1], &artifact, &error) != VAEXPRS_OK) return fail(error.message);

    vaexprs_default_options(&options);
    options.seed = 1;
    options.n_cells = n_words > 3 ? strtoull(words[3], NULL, 10) : 10000;
    if (n_words == 6) {
        condition.key = words[4];
        condition.category = words[5];
        options.conditions = &condition;
        options.n_conditions = 1;
    }
    if (vaexprs_start(artifact, &options, &run, &error) != VAEXPRS_OK) return fail(error.message);

    indptr = create(words[2], "indptr");
    indices = create(words[2], "indices");
    data = create(words[2], "data");
    if (!indptr || !indices || !data) return fail("the folder cannot be written.");
    fwrite(&end, sizeof end, 1, indptr);
    while ((status = vaexprs_next(run, &block, &error)) == VAEXPRS_OK) {
        for (size_t i = 1; i <= block.n_cells; ++i) {
            int64_t bound = end + block.indptr[i];
            fwrite(&bound, sizeof bound, 1, indptr);
        }
        end += (int64_t)block.n_values;
        fwrite(block.indices, sizeof *block.indices, block.n_values, indices);
        fwrite(block.data, sizeof *block.data, block.n_values, data);
    }
    if (status != VAEXPRS_END) return fail(error.message);
    vaexprs_stop(run);
    vaexprs_close(artifact);
    if (fclose(indptr) || fclose(indices) || fclose(data)) return fail("a file was not written.");
    return 0;
}
