// Run an ONNX file on one float32 input, in C++ with OpenVINO: run_onnx MODEL FOLDER BATCH CHANNELS HEIGHT WIDTH
//
// FOLDER holds input.bin; "NAME SIZE SIZE ..." for each output goes to stdout, its values to NAME.bin beside it.
#include <fstream>
#include <iostream>
#include <openvino/openvino.hpp>
#include <string>
#include <vector>

int main(int count, char** words) try {
    if (count != 7) {
        std::cerr << "usage: run_onnx MODEL FOLDER BATCH CHANNELS HEIGHT WIDTH\n";
        return 2;
    }
    const std::string folder = words[2];
    ov::Shape shape;
    for (int i = 3; i < 7; ++i) shape.push_back(std::stoul(words[i]));

    ov::Core core;
    auto model = core.compile_model(words[1], "CPU", ov::hint::inference_precision(ov::element::f32));
    auto request = model.create_infer_request();
    ov::Tensor input(ov::element::f32, shape);
    std::ifstream(folder + "/input.bin", std::ios::binary)
        .read(static_cast<char*>(input.data()), static_cast<std::streamsize>(input.get_byte_size()));
    request.set_input_tensor(input);
    request.infer();

    for (const auto& port : model.outputs()) {
        const auto output = request.get_tensor(port);
        const auto name = port.get_any_name();
        std::ofstream(folder + "/" + name + ".bin", std::ios::binary)
            .write(static_cast<const char*>(output.data()), static_cast<std::streamsize>(output.get_byte_size()));
        std::cout << name;
        for (const auto size : output.get_shape()) std::cout << ' ' << size;
        std::cout << '\n';
    }
    return 0;
} catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
}
