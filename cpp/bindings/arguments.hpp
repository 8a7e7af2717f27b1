// What the bindings share: arrays and numbers checked by name, the GIL released around the work.

#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <stdexcept>
#include <string>

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "vaexprs/buffer.hpp"
#include "vaexprs/run.hpp"

namespace vaexprs::bindings {

namespace py = pybind11;

/// Arrays come as they are: a conversion behind the caller's back would hide a copy.
inline constexpr py::ssize_t kAny = -1;

template <class T>
struct ArrayView {
    T* data;
    std::size_t rows, columns;
};

std::string describe(const py::array& array);

/// Refuses arrays of another dtype, order or shape; kAny stands for any length.
void check_array(const py::array& array, const char* name, const py::dtype& dtype,
                 std::initializer_list<py::ssize_t> shape, bool writeable);

template <class T>
const T* input(const py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
    check_array(array, name, py::dtype::of<T>(), shape, false);
    return static_cast<const T*>(array.data());
}

template <class T>
T* output(py::array& array, const char* name, std::initializer_list<py::ssize_t> shape) {
    check_array(array, name, py::dtype::of<T>(), shape, true);
    return static_cast<T*>(array.mutable_data());
}

/// A row length that fits the 32-bit index of a draw.
std::uint32_t row_length(const py::array& array, const char* name);

/// Refuses entries outside [low, high).
void check_range(const std::int32_t* values, std::size_t n, const char* name, std::int64_t low,
                 std::int64_t high);
/// Refuses entries that are not finite.
void check_finite(const float* values, std::size_t n, const char* name);

Run parse_run(const py::object& seed, const py::object& first_cell, const py::object& n_threads,
              const std::optional<std::string>& instruction_set);

/// A NumPy array that owns the memory of a buffer.
template <class T>
py::array_t<T> to_numpy(Buffer<T>&& buffer) {
    const auto size = static_cast<py::ssize_t>(buffer.size());
    T* data = buffer.release();
    const py::capsule owner(data, give_back_memory);
    return py::array_t<T>({size}, {static_cast<py::ssize_t>(sizeof(T))}, data, owner);
}

}  // namespace vaexprs::bindings
