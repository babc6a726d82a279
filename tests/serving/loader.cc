// Loads a SavedModel with TensorFlow's own loader, which TensorFlow Serving uses, and runs requests.
//
//   loader MODEL REQUESTS
//
// REQUESTS holds a folder a request: `signature` with its name, `in/NAME` with a serialised
// TensorProto an input. The outputs are written beside them as `out/NAME`.

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"
#include "tensorflow/core/public/session.h"
#include "tensorflow/core/public/session_options.h"

namespace fs = std::filesystem;

std::string Read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

int Fail(const std::string& message) {
  std::cerr << message << std::endl;
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 3) return Fail("loader MODEL REQUESTS");
  tensorflow::SavedModelBundle bundle;
  const auto loaded = tensorflow::LoadSavedModel(
      tensorflow::SessionOptions(), tensorflow::RunOptions(), argv[1],
      {"serve"}, &bundle);
  if (!loaded.ok()) return Fail("load: " + loaded.ToString());
  const auto& signatures = bundle.GetSignatures();
  for (const auto& entry : fs::directory_iterator(argv[2])) {
    const std::string name = Read(entry.path() / "signature");
    const auto found = signatures.find(name);
    if (found == signatures.end()) return Fail("no signature " + name);
    std::vector<std::pair<std::string, tensorflow::Tensor>> inputs;
    for (const auto& [key, info] : found->second.inputs()) {
      tensorflow::TensorProto proto;
      tensorflow::Tensor tensor;
      if (!proto.ParseFromString(Read(entry.path() / "in" / key)) || !tensor.FromProto(proto)) {
        return Fail(name + ": no tensor for " + key);
      }
      inputs.emplace_back(info.name(), tensor);
    }
    std::vector<std::string> keys, fetches;
    for (const auto& [key, info] : found->second.outputs()) {
      keys.push_back(key);
      fetches.push_back(info.name());
    }
    std::vector<tensorflow::Tensor> outputs;
    const auto ran = bundle.session->Run(inputs, fetches, {}, &outputs);
    if (!ran.ok()) return Fail(name + ": " + ran.ToString());
    fs::create_directory(entry.path() / "out");
    for (size_t place = 0; place < keys.size(); ++place) {
      tensorflow::TensorProto proto;
      outputs[place].AsProtoTensorContent(&proto);
      if (outputs[place].dtype() == tensorflow::DT_STRING) outputs[place].AsProtoField(&proto);
      std::ofstream file(entry.path() / "out" / keys[place], std::ios::binary);
      file << proto.SerializeAsString();
    }
    std::cout << name << std::endl;
  }
  return 0;
}
