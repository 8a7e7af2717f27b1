#include <cmath>

#include <pybind11/stl.h>

#include "vaexprs/normalisation.hpp"

#include "arguments.hpp"
#include "module.hpp"

namespace vaexprs::bindings {

using namespace pybind11::literals;

namespace {

void normalise_rows(py::array& data, const py::array& indptr, const py::object& seed,
                    const py::object& first_cell, const std::optional<py::array>& streams,
                    const Normalisation& law) {
    Run run = parse_run(seed, first_cell, py::int_(1), std::nullopt);
    float* values = output<float>(data, "data", {kAny});
    const auto* bounds = input<std::int64_t>(indptr, "indptr", {kAny});
    const auto n_bounds = static_cast<std::size_t>(indptr.shape(0));
    bool good = n_bounds >= 1 && bounds[0] == 0 && bounds[n_bounds - 1] == data.shape(0);
    for (std::size_t i = 0; good && i + 1 < n_bounds; ++i)
        good = bounds[i] <= bounds[i + 1];
    if (!good) throw py::value_error("indptr: expected bounds that rise from 0 to len(data).");
    if (streams) run.streams = input<std::uint32_t>(*streams, "streams", {indptr.shape(0) - 1});
    const bool finite = std::isfinite(law.log_sum) && std::isfinite(law.slope) &&
                        std::isfinite(law.deviation) && std::isfinite(law.centre);
    if (!finite || !(law.log_base == 0.0f || (law.log_base > 1.0f && std::isfinite(law.log_base))))
        throw py::value_error("normalisation: expected finite numbers and a base of 0 or above 1.");
    const py::gil_scoped_release release;
    normalise({values, static_cast<std::size_t>(data.shape(0))}, {bounds, n_bounds}, law, run);
}

}  // namespace

void bind_normalisation(py::module_& module) {
    module.def(
        "normalise",
        [](py::array& data, const py::array& indptr, const py::object& seed,
           const py::object& first_cell, const std::optional<py::array>& streams, float log_base,
           float pseudocount, float log_sum, float slope, float deviation, float centre) {
            normalise_rows(data, indptr, seed, first_cell, streams,
                           {log_base, pseudocount, log_sum, slope, deviation, centre});
        },
        "data"_a, "indptr"_a, py::kw_only(), "seed"_a, "first_cell"_a = 0, "streams"_a = py::none(),
        "log_base"_a, "pseudocount"_a, "log_sum"_a, "slope"_a, "deviation"_a, "centre"_a,
        "Scale the rows of a CSR matrix to a common sum and log them, in place.");
}

}  // namespace vaexprs::bindings
