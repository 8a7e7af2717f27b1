#include "vaexprs/decoder.hpp"

#include <algorithm>

#include "vaexprs/buffer.hpp"
#include "vaexprs/kernels.hpp"

#include "program.hpp"

namespace vaexprs {

namespace {

/// Cells that go through the graph together: their values stay in the second-level cache, and the
/// weights are fetched once for all of them. Fewer where the graph is wide: 16 MiB of values.
constexpr std::size_t kRows = 64, kMostValues = std::size_t{1} << 22;

}  // namespace

struct Decoder::Program : program::Program {
    using program::Program::Program;
};

Decoder::Decoder(std::string_view model, const Interface& interface, const Kernels& kernels)
    : program_(std::make_unique<const Program>(model, interface, kernels)) {}
Decoder::~Decoder() = default;
Decoder::Decoder(Decoder&&) noexcept = default;

bool Decoder::gives_logits() const {
    return program_->gives_logits;
}

const std::vector<float>& Decoder::bias() const {
    return program_->bias;
}

bool Decoder::has_one_row(std::size_t output) const {
    return !program_->values[program_->outputs[output]].of_cells;
}

std::size_t Decoder::n_values() const {
    return program_->n_values;
}

void Decoder::decode(const float* const* inputs, std::size_t n_cells, float* const* outputs) const {
    using program::Home;
    const Program& program = *program_;
    const std::size_t width = std::max<std::size_t>(program.slots_width, 1);
    const std::size_t step = std::clamp<std::size_t>(kMostValues / width, 1, kRows);
    Buffer<float> slots(width * std::min(step, n_cells));
    std::vector<const float*> from(program.values.size());
    std::vector<float*> to(program.values.size());
    for (std::size_t first = 0; first < n_cells; first += step) {
        const std::size_t n_rows = std::min(step, n_cells - first);
        for (std::size_t i = 0; i < program.values.size(); ++i) {
            const program::Value& value = program.values[i];
            const std::size_t begin = first * value.columns;
            if (value.home == Home::slot) to[i] = slots.data() + value.place * n_rows;
            if (value.home == Home::output) to[i] = outputs[value.place] + begin;
            from[i] = value.home == Home::constant ? value.data.data()
                      : value.home == Home::input  ? inputs[value.place] + begin
                                                   : to[i];
        }
        for (const program::Step& each : program.steps)
            program::run(each, program, n_rows, from.data(), to[each.output]);
    }
    for (std::size_t k = 0; k < program.outputs.size(); ++k) {
        const program::Value& value = program.values[program.outputs[k]];
        if (!value.of_cells) std::copy(value.data.begin(), value.data.end(), outputs[k]);
    }
}

}  // namespace vaexprs
