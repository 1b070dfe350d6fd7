// How checkpoints are read: as load_tensors does, except that checksums always count. Only we write checkpoints, so one
// of an earlier version, whose header has no marks yet (safetensors_checksum.h), is verified too.
#pragma once

#include <string>

#include "descent/io.h"

namespace descent::io {

TensorFile load_checkpoint(const std::string& path);

}  // namespace descent::io
