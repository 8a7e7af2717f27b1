#include <limits>
#include <string>

#include "vaexprs/deflate.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

py::bytes deflate(const py::array& plane) {
    const auto* bytes = input<std::uint8_t>(plane, "plane", {kAny});
    const auto n = static_cast<std::size_t>(plane.shape(0));
    if (n > std::numeric_limits<std::uint32_t>::max()) {
        throw py::value_error("plane: expected fewer than 2^32 bytes, got " + std::to_string(n) +
                              "; deflate it in parts.");
    }
    const std::string packed = [&] {
        const py::gil_scoped_release release;
        return deflate_plane({bytes, n});
    }();
    return py::bytes(packed);
}

void split(py::array& out, py::ssize_t first, const py::array& words) {
    const auto* from = input<std::uint32_t>(words, "words", {kAny});
    auto* planes = output<std::uint8_t>(out, "out", {sizeof(std::uint32_t), kAny});
    const py::ssize_t n = words.shape(0), room = out.shape(1);
    if (first < 0 || first > room || n > room - first) {
        throw py::value_error("first: expected room for " + std::to_string(n) + " words in " +
                              std::to_string(room) + " columns, got " + std::to_string(first) +
                              ".");
    }
    const py::gil_scoped_release release;
    split_into_planes({from, static_cast<std::size_t>(n)}, planes + first,
                      static_cast<std::size_t>(room));
}

}  // namespace

void bind_deflate(py::module_& module) {
    module.def("deflate_plane", deflate, "plane"_a,
               "Deflate blocks that hold a plane of bytes, (n,) uint8: none is the last of a "
               "stream,\nand they end on a whole byte.");
    module.def("split_into_planes", split, "out"_a, "first"_a, "words"_a,
               "Byte k of words[i], (n,) uint32, becomes out[k, first + i], (4, m) uint8; lowest "
               "first.");
}

}  // namespace vaexprs::bindings
