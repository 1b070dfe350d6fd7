// What each fault does to a gradient.
#include "autograd/fault.h"

#include <algorithm>

namespace descent::fault {

void apply(Kind kind, std::vector<double>& gradient) {
  switch (kind) {
    case Kind::scale:
      for (double& value : gradient) value *= 1.001;
      break;
    case Kind::negate:
      for (double& value : gradient) value = -value;
      break;
    case Kind::shift:
      if (gradient.empty()) break;
      std::shift_right(gradient.begin(), gradient.end(), 1);
      gradient.front() = 0;
      break;
    case Kind::zero_last:
      if (!gradient.empty()) gradient.back() = 0;
      break;
    case Kind::drop:
    case Kind::overwrite:
    case Kind::ignore_dy:
      break;  // not about the elements
  }
}

}  // namespace descent::fault
