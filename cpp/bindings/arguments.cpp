#include "arguments.hpp"

#include <cmath>
#include <limits>

#include "vaexprs/kernels.hpp"

namespace vaexprs::bindings {

namespace {

std::string shape_text(const std::vector<std::string>& lengths) {
    std::string text = "(";
    for (std::size_t i = 0; i < lengths.size(); ++i)
        text += (i > 0 ? ", " : "") + lengths[i];
    return text + (lengths.size() == 1 ? ",)" : ")");
}

std::uint64_t parse_unsigned(const py::object& value, const char* name, std::uint64_t limit,
                             const char* expected) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(value.ptr()));
    if (!index) throw py::error_already_set();
    const std::uint64_t number = PyLong_AsUnsignedLongLong(index.ptr());
    const bool overflow = PyErr_Occurred() != nullptr;
    if (overflow) PyErr_Clear();
    if (overflow || number > limit) {
        throw py::value_error(std::string(name) + ": expected an integer " + expected + ", got " +
                              std::string(py::str(index)) + ".");
    }
    return number;
}

}  // namespace

std::string describe(const py::array& array) {
    std::vector<std::string> lengths;
    for (py::ssize_t i = 0; i < array.ndim(); ++i)
        lengths.push_back(std::to_string(array.shape(i)));
    return std::string(py::str(array.dtype())) + " of shape " + shape_text(lengths);
}

void check_array(const py::array& array, const char* name, const py::dtype& dtype,
                 std::initializer_list<py::ssize_t> shape, bool writeable) {
    bool fits = array.dtype().equal(dtype) && (array.flags() & py::array::c_style) != 0 &&
                (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0 &&
                array.ndim() == static_cast<py::ssize_t>(shape.size());
    if (fits) {
        py::ssize_t axis = 0;
        for (const py::ssize_t length : shape) {
            fits = fits && (length == kAny || array.shape(axis) == length);
            ++axis;
        }
    }
    if (!fits) {
        std::vector<std::string> lengths;
        for (const py::ssize_t length : shape) {
            lengths.push_back(length == kAny ? "n" : std::to_string(length));
        }
        const std::string wanted = std::string(py::str(dtype)) + " of shape " + shape_text(lengths);
        const bool strided = (array.flags() & py::array::c_style) == 0;
        const bool aligned = (array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) != 0;
        throw py::value_error(std::string(name) + ": expected a C-contiguous array of " + wanted +
                              ", got " + (strided ? "a strided array of " : "") +
                              (aligned ? "" : "a misaligned array of ") + describe(array) + ".");
    }
    if (writeable && !array.writeable()) {
        throw py::value_error(std::string(name) +
                              ": expected a writeable array, got a read-only one.");
    }
}

std::uint32_t row_length(const py::array& array, const char* name) {
    const py::ssize_t length = array.ndim() == 2 ? array.shape(1) : 0;
    if (length > std::numeric_limits<std::int32_t>::max()) {
        throw py::value_error(std::string(name) + ": expected fewer than 2^31 columns, got " +
                              std::to_string(length) + ".");
    }
    return static_cast<std::uint32_t>(length);
}

void check_range(const std::int32_t* values, std::size_t n, const char* name, std::int64_t low,
                 std::int64_t high) {
    for (std::size_t i = 0; i < n; ++i) {
        if (values[i] < low || values[i] >= high) {
            throw py::value_error(std::string(name) + ": expected values from " +
                                  std::to_string(low) + " to " + std::to_string(high - 1) +
                                  ", got " + std::to_string(values[i]) + " at position " +
                                  std::to_string(i) + ".");
        }
    }
}

void check_finite(const float* values, std::size_t n, const char* name) {
    for (std::size_t i = 0; i < n; ++i) {
        if (!std::isfinite(values[i])) {
            throw py::value_error(std::string(name) + ": expected finite values, got " +
                                  std::to_string(values[i]) + " at position " + std::to_string(i) +
                                  ".");
        }
    }
}

Run parse_run(const py::object& seed, const py::object& first_cell, const py::object& n_threads,
              const std::optional<std::string>& instruction_set) {
    Run run;
    run.seed = parse_unsigned(seed, "seed", std::numeric_limits<std::uint64_t>::max(),
                              "from 0 to 2^64 - 1");
    // So that the last index, first_cell + n_cells - 1, fits 64 bits with room to spare.
    run.first_cell = parse_unsigned(first_cell, "first_cell",
                                    std::numeric_limits<std::int64_t>::max(), "from 0 to 2^63 - 1");
    run.n_threads =
        static_cast<unsigned>(parse_unsigned(n_threads, "n_threads", 4096, "from 1 to 4096"));
    if (run.n_threads == 0)
        throw py::value_error("n_threads: expected an integer from 1 to 4096, got 0.");
    run.kernels = &kernels_named(instruction_set.value_or(""));
    return run;
}

}  // namespace vaexprs::bindings
