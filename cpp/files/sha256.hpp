#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

namespace densegrad {

/// The digest of bytes that come in pieces; FIPS 180-4, Secure hash standard (2015).
class Sha256 {
 public:
  void update(const void* bytes, std::size_t size);
  void update(const std::string& text) { update(text.data(), text.size()); }

  /// The digest in hexadecimal digits; to be asked for once, behind the last piece.
  std::string hex();

 private:
  void take_block();

  std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> block_ = {};
  std::uint64_t size_ = 0;
};

}  // namespace densegrad
