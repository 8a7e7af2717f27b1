#include "vaexprs/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "kernel_tables.hpp"

namespace vaexprs {

namespace {

std::vector<const Kernels*> find_kernels() {
    std::vector<const Kernels*> found{&kReferenceKernels};
#if defined(VAEXPRS_X86_64_KERNELS)
    // The features that the psABI names for each level and that our kernels' compiler may use.
    // These checks look at what the operating system saves as well.
    const auto v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
    const auto v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
    const auto v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
    if (v2) found.push_back(&x86_64_v2::kKernels);
    if (v3) found.push_back(&x86_64_v3::kKernels);
    if (v4) found.push_back(&x86_64_v4::kKernels);
#elif defined(VAEXPRS_BASELINE_KERNELS)
    found.push_back(&baseline::kKernels);
#endif
    return found;
}

const Kernels& find(std::string_view name) {
    std::string known;
    for (const Kernels* kernels : available_kernels()) {
        if (name == kernels->name) return *kernels;
        known += (known.empty() ? "'" : ", '") + std::string(kernels->name) + "'";
    }
    throw std::invalid_argument("instruction_set: expected one of " + known + ", got '" +
                                std::string(name) + "'.");
}

const Kernels& default_kernels() {
    const char* name = std::getenv("VAEXPRS_INSTRUCTION_SET");
    return name != nullptr && *name != '\0' ? find(name) : *available_kernels().back();
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
    static const std::vector<const Kernels*> kernels = find_kernels();
    return kernels;
}

const Kernels& kernels_named(std::string_view name) {
    if (!name.empty()) return find(name);
    static const Kernels& chosen = default_kernels();
    return chosen;
}

}  // namespace vaexprs
