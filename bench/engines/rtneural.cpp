/* RTNeural in a C++ host, step by step: an LSTM of one sample in and one out, its size fixed at compile time. */

#include <RTNeural/RTNeural.h>

#include <chrono>
#include <memory>
#include <vector>

namespace {

using Rows = std::vector<std::vector<float>>;

/* (rows, columns) as vectors of its columns. */
Rows columns(const float *matrix, std::size_t rows, std::size_t count)
{
    Rows result(count, std::vector<float>(rows));
    for (std::size_t row = 0; row < rows; row++)
        for (std::size_t column = 0; column < count; column++) result[column][row] = matrix[row * count + column];
    return result;
}

template <int H>
double time_model(const float *parameters, std::size_t steps, std::size_t repeats, const float *x, float *y)
{
    using Lstm = RTNeural::LSTMLayerT<float, 1, H>;
    using Model = RTNeural::ModelT<float, 1, 1, Lstm, RTNeural::DenseT<float, H, 1>>;
    const float *input = parameters, *recurrent = input + 4 * H, *bias = recurrent + 4 * H * H;
    const float *readout = bias + 4 * H;

    const auto model = std::make_unique<Model>();
    model->template get<0>().setWVals(columns(input, 4 * H, 1));
    model->template get<0>().setUVals(columns(recurrent, 4 * H, H));
    model->template get<0>().setBVals({bias, bias + 4 * H});
    model->template get<1>().setWeights(Rows{{readout, readout + H}});
    model->template get<1>().setBias(readout + H);

    const auto run = [&] {
        model->reset();
        for (std::size_t t = 0; t < steps; t++) {
            alignas(RTNEURAL_DEFAULT_ALIGNMENT) float in[16] = {x[t]};
            y[t] = model->forward(in);
        }
    };
    run();
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t n = 0; n < repeats; n++) run();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    return taken.count() / static_cast<double>(repeats * steps);
}

} // namespace

/* Like step_seconds of stream.c, but step by step only; -1 for a hidden size without an instance below. */
extern "C" double rtneural_seconds(std::size_t hidden, const float *parameters, std::size_t steps, std::size_t repeats,
                                   const float *x, float *y)
{
    switch (hidden) {
    case 8: return time_model<8>(parameters, steps, repeats, x, y);
    case 16: return time_model<16>(parameters, steps, repeats, x, y);
    case 24: return time_model<24>(parameters, steps, repeats, x, y);
    case 32: return time_model<32>(parameters, steps, repeats, x, y);
    case 40: return time_model<40>(parameters, steps, repeats, x, y);
    case 48: return time_model<48>(parameters, steps, repeats, x, y);
    case 64: return time_model<64>(parameters, steps, repeats, x, y);
    case 80: return time_model<80>(parameters, steps, repeats, x, y);
    case 96: return time_model<96>(parameters, steps, repeats, x, y);
    default: return -1;
    }
}
