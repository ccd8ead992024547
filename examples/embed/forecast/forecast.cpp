// Learns a series of numbers and goes on with it: trains an LSTM with a linear readout in windows, then feeds its own
// forecasts back to it as a stream.
//
//     ./forecast 30 < series.txt      prints the next 30 numbers
#include <clstm.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr std::size_t hidden_size = 24, window = 50, epochs = 60;

void check(clstm_status status) {
    if (status != CLSTM_OK) throw std::runtime_error(clstm_strerror(status));
}

struct Free {
    void operator()(clstm_model *model) const { clstm_model_free(model); }
    void operator()(clstm_tape *tape) const { clstm_tape_free(tape); }
    void operator()(clstm_stream *stream) const { clstm_stream_release(stream); }
};
template <class Handle> using Owned = std::unique_ptr<Handle, Free>;

Owned<clstm_model> make_model() {
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = 1;
    config.hidden_size = hidden_size;
    config.output_size = 1;
    std::size_t tensors = 0, elements = 0;
    check(clstm_config_count(&config, &tensors, &elements));

    std::vector<float> parameters(elements);
    std::mt19937 random(0);
    const float limit = 1 / std::sqrt(static_cast<float>(hidden_size));
    std::uniform_real_distribution<float> draw(-limit, limit);
    std::generate(parameters.begin(), parameters.end(), [&] { return draw(random); });

    clstm_model *model = nullptr;
    check(clstm_model_create(&config, parameters.data(), nullptr, &model));
    return Owned<clstm_model>(model);
}

// Truncated backpropagation through time: the state is carried from window to window, gradients are not.
class Trainer {
public:
    explicit Trainer(clstm_model *model) : model_(model) {
        const clstm_config *config = clstm_model_config(model);
        std::size_t tensors = 0, elements = 0;
        check(clstm_config_count(config, &tensors, &elements));
        gradients_.resize(elements);
        m_.resize(elements);
        v_.resize(elements);
        adam_.lr = 5e-3;
    }

    // One pass over the series; returns the mean squared error of the next value.
    double epoch(const std::vector<float> &series) {
        double sum = 0;
        std::fill(h_.begin(), h_.end(), 0.0f);
        std::fill(c_.begin(), c_.end(), 0.0f);
        for (std::size_t first = 0; first + 1 < series.size(); first += window)
            sum += step(series.data() + first, std::min(window, series.size() - 1 - first));
        return sum / static_cast<double>(series.size() - 1);
    }

private:
    // x[0..steps) are the inputs, x[1..steps] the targets.
    double step(const float *x, std::size_t steps) {
        clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
        sequence.steps = steps;
        sequence.batch = 1;
        sequence.x = x;
        sequence.y = y_.data();
        sequence.h0 = sequence.hn = h_.data();
        sequence.c0 = sequence.cn = c_.data();
        clstm_tape *recorded = nullptr;
        check(clstm_record(model_, &sequence, nullptr, &recorded));
        const Owned<clstm_tape> tape(recorded);

        double sum = 0;
        for (std::size_t t = 0; t < steps; t++) {
            const float error = y_[t] - x[t + 1];
            sum += error * error;
            dy_[t] = 2 * error / static_cast<float>(steps);
        }
        clstm_gradients gradients = CLSTM_GRADIENTS_INIT;
        gradients.dy = dy_.data();
        gradients.parameters = gradients_.data();
        check(clstm_backward(tape.get(), &gradients, nullptr));
        double norm = 0;
        check(clstm_clip_global_norm(gradients_.size(), gradients_.data(), 1, &norm, nullptr));
        check(clstm_adam_step(model_, &adam_, gradients_.data(), m_.data(), v_.data(), nullptr));
        adam_.step++;
        return sum;
    }

    clstm_model *model_;
    clstm_adam adam_ = CLSTM_ADAM_INIT;
    std::vector<float> gradients_, m_, v_;
    std::vector<float> y_ = std::vector<float>(window), dy_ = std::vector<float>(window);
    std::vector<float> h_ = std::vector<float>(hidden_size), c_ = std::vector<float>(hidden_size);
};

// The values that follow the series, each the forecast from the one before.
std::vector<float> forecast(const clstm_model *model, const std::vector<float> &series, std::size_t count) {
    std::size_t bytes = 0;
    check(clstm_stream_size(model, 1, &bytes));
    std::vector<char> memory(bytes);
    clstm_stream *begun = nullptr;
    check(clstm_stream_init(model, 1, 0, memory.data(), bytes, &begun));
    const Owned<clstm_stream> stream(begun);

    std::vector<float> y(series.size()), next(count);
    check(clstm_stream_process(stream.get(), series.size(), series.data(), y.data()));
    float value = y.back();
    for (float &forecast : next) {
        forecast = value;
        check(clstm_stream_step(stream.get(), &forecast, &value));
    }
    return next;
}

int run(std::size_t count) {
    std::vector<float> series;
    for (float value; std::cin >> value;) series.push_back(value);
    if (series.size() < 2) throw std::runtime_error("a series of at least two numbers is read from stdin");

    // Trained on numbers of mean 0 and deviation 1.
    const auto size = static_cast<float>(series.size());
    const float mean = std::accumulate(series.begin(), series.end(), 0.0f) / size;
    float squares = 0;
    for (const float value : series) squares += (value - mean) * (value - mean);
    const float deviation = squares > 0 ? std::sqrt(squares / size) : 1;
    for (float &value : series) value = (value - mean) / deviation;

    const Owned<clstm_model> model = make_model();
    Trainer trainer(model.get());
    double error = 0;
    for (std::size_t epoch = 0; epoch < epochs; epoch++) error = trainer.epoch(series);
    std::cerr << "one step ahead: root mean squared error " << std::sqrt(error) * deviation << '\n';
    for (const float value : forecast(model.get(), series, count)) std::cout << value * deviation + mean << '\n';
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    try {
        return run(argc > 1 ? std::stoul(argv[1]) : 10);
    } catch (const std::exception &error) {
        std::cerr << "forecast: " << error.what() << '\n';
        return 1;
    }
}
