/* NeuralAudio in a C++ host, block by block: an LSTM of one sample in and one out, its sizes fixed at compile time. */

#include <cassert>
#include <chrono>
#include <memory>
#include <vector>

#include <NeuralAudio/LSTM.h>

namespace {

/* clstm's flat parameters in NeuralAudio's order: rows of both matrices side by side, bias, initial state. */
std::vector<float> in_its_order(const float *from, std::size_t layers, std::size_t hidden)
{
    std::vector<float> to;
    const std::size_t rows = 4 * hidden;
    for (std::size_t layer = 0; layer < layers; layer++) {
        const std::size_t inputs = layer ? hidden : 1;
        const float *recurrent = from + rows * inputs, *bias = recurrent + rows * hidden;
        for (std::size_t row = 0; row < rows; row++) {
            to.insert(to.end(), from + row * inputs, from + (row + 1) * inputs);
            to.insert(to.end(), recurrent + row * hidden, recurrent + (row + 1) * hidden);
        }
        to.insert(to.end(), bias, bias + rows);
        to.insert(to.end(), 2 * hidden, 0.0f);
        from = bias + rows;
    }
    to.insert(to.end(), from, from + hidden + 1); /* the readout */
    return to;
}

template <int L, int H>
double time_model(const float *parameters, std::size_t block, std::size_t steps, std::size_t repeats, const float *x,
                  float *y)
{
    using Clock = std::chrono::steady_clock;
    const auto model = std::make_unique<NeuralAudio::LSTMModelT<L, H>>();
    const std::vector<float> weights = in_its_order(parameters, L, H);
    std::chrono::duration<double> taken(0);
    for (std::size_t n = 0; n <= repeats; n++) {
        model->SetNAMWeights(weights); /* the initial state comes with them */
        const auto start = Clock::now();
        for (std::size_t t = 0; t < steps; t += block)
            model->Process(x + t, y + t, block < steps - t ? block : steps - t);
        if (n) taken += Clock::now() - start; /* the first run warms the caches */
    }
    return taken.count() / static_cast<double>(repeats * steps);
}

template <int L>
double time_layers(std::size_t hidden, const float *parameters, std::size_t block, std::size_t steps,
                   std::size_t repeats, const float *x, float *y)
{
    switch (hidden) {
    case 8: return time_model<L, 8>(parameters, block, steps, repeats, x, y);
    case 12: return time_model<L, 12>(parameters, block, steps, repeats, x, y);
    case 16: return time_model<L, 16>(parameters, block, steps, repeats, x, y);
    case 24: return time_model<L, 24>(parameters, block, steps, repeats, x, y);
    case 32: return time_model<L, 32>(parameters, block, steps, repeats, x, y);
    case 40: return time_model<L, 40>(parameters, block, steps, repeats, x, y);
    default: return -1;
    }
}

} // namespace

/* Like step_seconds of stream.c, for a single row; -1 for sizes without an instance above. */
extern "C" double neuralaudio_seconds(std::size_t layers, std::size_t hidden, const float *parameters,
                                      std::size_t block, std::size_t steps, std::size_t repeats, const float *x,
                                      float *y)
{
    if (layers == 1) return time_layers<1>(hidden, parameters, block, steps, repeats, x, y);
    if (layers == 2) return time_layers<2>(hidden, parameters, block, steps, repeats, x, y);
    return -1;
}
