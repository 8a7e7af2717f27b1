// Prints a hash of 10,000 cells of each artifact that is named, or of the number of cells that
// stands behind its path: model.onnx@1000000. It is the same on every machine.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "vaexprs.h"

namespace {

/// FNV-1a, 64 bits.
struct Hash {
    std::uint64_t value = 0xCBF29CE484222325u;

    template <class T>
    void add(const T* numbers, std::size_t n) {
        const auto* bytes = reinterpret_cast<const unsigned char*>(numbers);
        for (std::size_t i = 0; i < n * sizeof(T); ++i)
            value = (value ^ bytes[i]) * 0x100000001B3u;
    }
};

/// The last part of a path, without its suffix, and the number of cells where one is given.
void print_name(const char* path, const char* number) {
    const char* slash = std::strrchr(path, '/');
    const char* name = slash == nullptr ? path : slash + 1;
    const char* dot = std::strrchr(name, '.');
    const auto length = dot == nullptr ? std::strlen(name) : static_cast<std::size_t>(dot - name);
    std::printf("%.*s%s ", static_cast<int>(length), name, number);
}

int fail(const char* path, const vaexprs_error& error) {
    std::fprintf(stderr, "%s: %s\n", path, error.message);
    return 1;
}

}  // namespace

int main(int n_words, char** words) {
    for (int i = 1; i < n_words; ++i) {
        char* path = words[i];
        char* at = std::strrchr(path, '@');
        const unsigned long long n_cells =
            at == nullptr ? 10'000 : std::strtoull(at + 1, nullptr, 10);
        char number[32] = "";
        if (at != nullptr) {
            std::snprintf(number, sizeof number, "@%llu", n_cells);
            *at = '\0';
        }
        vaexprs_artifact* artifact = nullptr;
        vaexprs_run* run = nullptr;
        vaexprs_error error;
        vaexprs_options options;
        vaexprs_block block;
        vaexprs_default_options(&options);
        options.seed = 5;
        options.n_cells = n_cells;
        if (vaexprs_open(path, &artifact, &error) != VAEXPRS_OK ||
            vaexprs_start(artifact, &options, &run, &error) != VAEXPRS_OK)
            return fail(path, error);
        Hash hash;
        vaexprs_status status;
        while ((status = vaexprs_next(run, &block, &error)) == VAEXPRS_OK) {
            hash.add(block.codes, block.n_cells * vaexprs_n_keys(artifact));
            hash.add(block.z, block.n_cells * vaexprs_n_latent(artifact));
            if (block.library != nullptr) hash.add(block.library, block.n_cells);
            hash.add(block.indptr, block.n_cells + 1);
            hash.add(block.indices, block.n_values);
            hash.add(block.data, block.n_values);
        }
        if (status != VAEXPRS_END) return fail(path, error);
        print_name(path, number);
        std::printf("%016llx\n", static_cast<unsigned long long>(hash.value));
        vaexprs_stop(run);
        vaexprs_close(artifact);
    }
    return 0;
}
