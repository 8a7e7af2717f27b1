// Opens each file of a stream and generates a few cells, to be built with sanitizers; see
// fuzz/reader.py. The stream is numbers of bytes (8, little-endian) and the bytes, one file after
// the other. Prints how many were opened, and how many of these gave all their cells.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <unistd.h>
#include <vector>

#include "vaexprs.h"

namespace {

/// Seconds for one file; a slower one ends the program by SIGALRM.
constexpr unsigned kSeconds = 5;
constexpr std::uint64_t kCells = 9;

bool is_sound(const vaexprs_block& block, std::size_t n_genes) {
    if (block.indptr[0] != 0) return false;
    for (std::size_t i = 0; i < block.n_cells; ++i) {
        if (block.indptr[i + 1] < block.indptr[i]) return false;
        for (auto k = block.indptr[i]; k < block.indptr[i + 1]; ++k) {
            const bool rises = k == block.indptr[i] || block.indices[k] > block.indices[k - 1];
            const bool in_range =
                block.indices[k] >= 0 && static_cast<std::size_t>(block.indices[k]) < n_genes;
            if (!rises || !in_range || !std::isfinite(block.data[k])) return false;
        }
    }
    return static_cast<std::size_t>(block.indptr[block.n_cells]) == block.n_values;
}

enum class Outcome { kRefused, kStopped, kMade, kUnsound };

Outcome generate(const std::vector<unsigned char>& file) {
    vaexprs_artifact* artifact = nullptr;
    vaexprs_run* run = nullptr;
    vaexprs_error error;
    if (vaexprs_open_bytes(file.data(), file.size(), &artifact, &error) != VAEXPRS_OK)
        return Outcome::kRefused;
    vaexprs_options options;
    vaexprs_default_options(&options);
    options.n_cells = kCells;
    Outcome outcome = Outcome::kStopped;
    if (vaexprs_start(artifact, &options, &run, &error) == VAEXPRS_OK) {
        vaexprs_block block;
        vaexprs_status status;
        while ((status = vaexprs_next(run, &block, &error)) == VAEXPRS_OK)
            if (!is_sound(block, vaexprs_n_genes(artifact))) outcome = Outcome::kUnsound;
        if (status == VAEXPRS_END && outcome != Outcome::kUnsound) outcome = Outcome::kMade;
        vaexprs_stop(run);
    }
    vaexprs_close(artifact);
    return outcome;
}

}  // namespace

int main() {
    std::uint64_t n_bytes = 0;
    std::uint64_t count[4] = {};
    std::vector<unsigned char> file;
    for (std::uint64_t i = 0; std::fread(&n_bytes, sizeof n_bytes, 1, stdin) == 1; ++i) {
        file.resize(n_bytes);
        if (std::fread(file.data(), 1, n_bytes, stdin) != n_bytes) return 2;
        alarm(kSeconds);
        const Outcome outcome = generate(file);
        ++count[static_cast<int>(outcome)];
        if (outcome == Outcome::kUnsound) {
            std::fprintf(stderr, "file %llu: its cells are not sound\n",
                         static_cast<unsigned long long>(i));
            return 1;
        }
    }
    std::printf("%llu refused at once, %llu while generating, %llu gave cells\n",
                static_cast<unsigned long long>(count[0]),
                static_cast<unsigned long long>(count[1]),
                static_cast<unsigned long long>(count[2]));
    return 0;
}
