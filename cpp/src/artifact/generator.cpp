#include "vaexprs/generator.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "vaexprs/inputs.hpp"
#include "vaexprs/kernels.hpp"
#include "vaexprs/likelihoods.hpp"

#include "../onnx/checks.hpp"
#include "request.hpp"
#include "spec.hpp"

namespace vaexprs {

struct Artifact::Contents {
    artifact::Spec spec;
    Interface interface;
    std::optional<Decoder> decoder;
};

Artifact::Artifact(std::string_view model) {
    auto contents = std::make_unique<Contents>();
    contents->spec = artifact::read_spec(onnx::checked_model(model).metadata);
    contents->interface = contents->spec.interface();
    contents->decoder.emplace(model, contents->interface, kernels_named(""));
    contents_ = std::move(contents);
}
Artifact::~Artifact() = default;

std::string_view Artifact::likelihood() const {
    return contents_->spec.likelihood;
}

std::uint32_t Artifact::n_latent() const {
    return contents_->spec.n_latent;
}

bool Artifact::has_library() const {
    return contents_->spec.library_kind.has_value();
}

const std::vector<std::string>& Artifact::var_names() const {
    return contents_->spec.var_names;
}

std::vector<Artifact::Key> Artifact::keys() const {
    std::vector<Key> keys;
    for (const artifact::Key& key : contents_->spec.keys)
        keys.push_back({key.name, key.categories});
    return keys;
}

struct Generator::Ready {
    const Artifact::Contents& contents;
    Request request;
    DecodeFunction decode;
    artifact::PlanArrays plan;
    std::unique_ptr<const Inputs> inputs;

    Csr observe(const std::vector<const float*>& outputs, const float* library, const Run& run,
                std::size_t n_cells) const;
};

namespace {

/// The law of values given the outputs of the graph.
const Likelihood& value_law(const artifact::Spec& spec) {
    return likelihood_named(spec.observation == "normal"      ? "gaussian"
                            : spec.observation == "rectified" ? "rectified_gaussian"
                                                              : spec.likelihood);
}

Csr csr_of(const std::vector<float>& dense, std::size_t n_rows, std::size_t n_columns) {
    Csr made{Buffer<float>(dense.size()), Buffer<std::int32_t>(dense.size()), {0}};
    for (std::size_t i = 0; i < n_rows; ++i) {
        for (std::size_t j = 0; j < n_columns; ++j) {
            const float value = dense[i * n_columns + j];
            if (value == 0.0f) continue;
            *made.data.end() = value;
            *made.indices.end() = static_cast<std::int32_t>(j);
            made.data.commit(1);
            made.indices.commit(1);
        }
        made.indptr.push_back(static_cast<std::int64_t>(made.data.size()));
    }
    return made;
}

}  // namespace

Generator::Generator(const Artifact& artifact, const Request& request, DecodeFunction decode) {
    const Artifact::Contents& contents = *artifact.contents_;
    const artifact::Spec& spec = contents.spec;
    if (!(request.library >= 0.0f && request.library <= kCountMean.high))
        throw RequestError("library: expected a number of counts > 0 and < 2^63, or 0 for none.");
    if (request.library > 0.0f && !artifact.has_library())
        throw RequestError("library: the likelihood '" + spec.likelihood +
                           "' has no library size.");
    auto ready = std::make_unique<Ready>(
        Ready{contents, request, std::move(decode), artifact::make_plan(spec, request), nullptr});
    std::vector<std::uint32_t> streams;
    const std::size_t n_keys = spec.keys.size();
    for (std::size_t g = 0; g < ready->plan.n_groups; ++g) {
        std::vector<std::string> names;
        for (std::size_t k = 0; k < n_keys; ++k) {
            const std::int32_t code = ready->plan.combinations[g * n_keys + k];
            names.push_back(spec.keys[k].name);
            names.push_back(spec.keys[k].categories[static_cast<std::size_t>(code)]);
        }
        streams.push_back(stream_of(names));
    }
    const Plan plan{ready->plan.is_endless, ready->plan.bounds, ready->plan.groups};
    ready->inputs = std::make_unique<Inputs>(spec.conditions(), spec.law(), plan,
                                             ready->plan.combinations, std::move(streams));
    ready_ = std::move(ready);
}
Generator::~Generator() = default;
Generator::Generator(Generator&&) noexcept = default;

std::uint64_t Generator::n_cells() const {
    return ready_->plan.is_endless ? std::numeric_limits<std::uint64_t>::max()
                                   : ready_->plan.bounds.back();
}

std::size_t Generator::block() const {
    // Three million values: see tile_size in vaexprs/generation/decoder.py.
    const std::size_t n_genes = ready_->contents.spec.var_names.size();
    return std::clamp<std::size_t>((std::size_t{3} << 20) / n_genes, 1, 256);
}

Cells Generator::cells(std::uint64_t first_cell, std::size_t n_cells) const {
    const artifact::Spec& spec = ready_->contents.spec;
    if (first_cell > this->n_cells() || n_cells > this->n_cells() - first_cell)
        throw RequestError("the design ends at cell " + std::to_string(this->n_cells()) + ".");
    if (first_cell > std::numeric_limits<std::uint64_t>::max() / 2 - n_cells)
        throw RequestError("first_cell: expected indices below 2^63.");
    Run run{ready_->request.seed, first_cell, 1, &kernels_named(""), nullptr};
    Cells made;
    made.first_cell = first_cell;
    made.codes.resize(n_cells * spec.keys.size());
    made.unseen = std::make_unique<bool[]>(n_cells);
    made.z.resize(n_cells * spec.n_latent);
    std::vector<std::uint32_t> streams(n_cells);
    std::vector<float> condition;
    std::vector<const float*> inputs{made.z.data()};
    InputRows rows{made.codes.data(), made.unseen.get(), streams.data(),
                   made.z.data(),     nullptr,           nullptr};
    if (!spec.keys.empty()) {
        condition.resize(n_cells * ready_->inputs->n_conditions());
        inputs.push_back(rows.condition = condition.data());
    }
    if (spec.library_kind) {
        made.library.resize(n_cells);
        inputs.push_back(rows.library = made.library.data());
    }
    ready_->inputs->draw(run, n_cells, rows);
    if (ready_->request.library > 0.0f)
        std::fill(made.library.begin(), made.library.end(), ready_->request.library);

    const Decoder& decoder = *ready_->contents.decoder;
    const std::size_t n_genes = spec.var_names.size();
    std::vector<Buffer<float>> outputs;
    std::vector<float*> to;
    for (std::size_t k = 0; k < ready_->contents.interface.outputs.size(); ++k) {
        outputs.emplace_back((decoder.has_one_row(k) ? 1 : n_cells) * n_genes);
        to.push_back(outputs.back().data());
    }
    if (!ready_->decode) {
        decoder.decode(inputs.data(), n_cells, to.data());
    } else if (!ready_->decode(inputs.data(), n_cells, to.data())) {
        throw std::runtime_error("the host's decoder failed.");
    }
    run.streams = streams.data();
    const float* library = spec.library_kind ? made.library.data() : nullptr;
    made.values = ready_->observe({to.begin(), to.end()}, library, run, n_cells);
    return made;
}

Csr Generator::Ready::observe(const std::vector<const float*>& outputs, const float* library,
                              const Run& run, std::size_t n_cells) const {
    const artifact::Spec& spec = contents.spec;
    const Decoder& decoder = *contents.decoder;
    const std::size_t n_genes = spec.var_names.size();
    if (n_genes >= kMaxGenes) throw std::invalid_argument("more genes than can be drawn.");
    Observation o{&value_law(spec), n_cells, static_cast<std::uint32_t>(n_genes), {}};
    for (std::size_t k = 0; k < outputs.size(); ++k)
        o.parameters[k] = {outputs[k], decoder.has_one_row(k) ? 0 : n_genes};
    if (spec.residual) o.parameters[1] = {spec.residual->data(), 0};
    if (!decode && decoder.gives_logits()) {
        o.softmax.library = library;
        o.softmax.bias = decoder.bias().empty() ? nullptr : decoder.bias().data();
    }
    o.rounded = spec.observation == "rounded";
    if (spec.observation == "mean") {
        std::vector<float> means(n_cells * n_genes);
        write_means(o, run, means.data());
        return csr_of(means, n_cells, n_genes);
    }
    Csr made = sample_csr(o, run);
    if (spec.normalisation) {
        normalise({made.data.data(), made.data.size()}, made.indptr, *spec.normalisation, run);
    }
    return made;
}

}  // namespace vaexprs
