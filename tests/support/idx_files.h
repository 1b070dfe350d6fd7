// Small IDX datasets and gzip streams for tests.
#pragma once

#include <zlib.h>

#include <string>

#include "descent/data.h"
#include "descent/io.h"
#include "support/files.h"

namespace descent::test {

inline Bytes gzip(std::span<const std::byte> plain) {
  z_stream z{};
  if (deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) throw std::runtime_error("deflateInit2");
  Bytes out(deflateBound(&z, static_cast<uLong>(plain.size())) + 32);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
  z.avail_in = static_cast<uInt>(plain.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  const int status = deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  if (status != Z_STREAM_END) throw std::runtime_error("deflate");
  return out;
}

// Four files with 4 x 3 images; image i has label i % 10 and pixels that differ from those of its neighbours.
inline void write_idx_dataset(const std::string& directory, std::int64_t train, std::int64_t test,
                              const std::string& separator = "-", bool compressed = false) {
  io::make_directories(directory);
  const auto write = [&](const std::string& name, const Tensor& tensor) {
    const Bytes plain = data::encode_idx(tensor);
    io::write_file(directory + "/" + name + (compressed ? ".gz" : ""), compressed ? gzip(plain) : plain);
  };
  const auto part = [&](const std::string& stem, std::int64_t count, int salt) {
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * 12));
    for (std::size_t i = 0; i < pixels.size(); ++i)
      pixels[i] = static_cast<std::uint8_t>(i * i * 7 + i / 12 + static_cast<std::size_t>(salt));
    std::vector<std::uint8_t> labels(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<std::uint8_t>(i % 10);
    write(stem + "-images" + separator + "idx3-ubyte", Tensor::from(pixels, {count, 4, 3}));
    write(stem + "-labels" + separator + "idx1-ubyte", Tensor::from(labels, {count}));
  };
  part("train", train, 0);
  part("t10k", test, 100);
}

}  // namespace descent::test
