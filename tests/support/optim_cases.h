// The table of optimizer rules that the tests of both backends run: a row is a rule with options.
#pragma once

#include <vector>

#include "core/optimizer_rules.h"

namespace descent::test {

struct OptimCase {
  const char* name;
  double lr;
  OptimRule rule;
  // PyTorch 2.15's parameters after three steps in f64, beginning with 0.5, -1, 2, 0.1; the gradients of step t = 0, 1,
  // 2 are (0.1, -0.2, 0.3, -0.4) (t + 1) + 0.05 t^2. Empty: not compared.
  std::vector<double> torch;
};

inline const std::vector<OptimCase>& optim_cases() {
  static const std::vector<OptimCase> cases{
      {"sgd", 0.1, Sgd{}, {0.41499999999999998, -0.90499999999999992, 1.7949999999999999, 0.31500000000000006}},
      {"sgd decay",
       0.1,
       Sgd{0, 0, 0.01, false},
       {0.4135464895, -0.90207797899999997, 1.789130968, 0.31454533990000005}},
      {"sgd momentum", 0.1, Sgd{0.9, 0, 0, false}, {}},
      {"sgd damped momentum and decay",
       0.1,
       Sgd{0.9, 0.3, 0.01, false},
       {0.40232041985499994, -0.86658348970999999, 1.74588793432, 0.37753318455099999}},
      {"sgd nesterov",
       0.1,
       Sgd{0.9, 0, 0, true},
       {0.30285999999999996, -0.76036999999999999, 1.5116800000000001, 0.63081000000000009}},
      {"sgd nesterov decay", 0.1, Sgd{0.9, 0, 0.01, true}, {}},
      {"rmsprop",
       0.01,
       RmsProp{},
       {0.21893059584911387, -0.74241089654391224, 1.7251642129909683, 0.36472262855780896}},
      {"rmsprop momentum centered",
       0.01,
       RmsProp{0.9, 1e-6, 0.02, 0.8, true},
       {0.32936368212115297, -0.83756403739845664, 1.8316561747356359, 0.26568478582881278}},
      {"rmsprop momentum", 0.01, RmsProp{0.9, 1e-6, 0.02, 0.8, false}, {}},
      {"rmsprop centered", 0.01, RmsProp{0.9, 1e-6, 0.02, 0, true}, {}},
      {"adam", 0.01, Adam{}, {0.47153517016901259, -0.97034675649328628, 1.9710502365510376, 0.12945099667369853}},
      {"adam decay",
       0.01,
       Adam{0.7, 0.9, 1e-4, 0.05, false},
       {0.47039206646169979, -0.96981444795157412, 1.970046147594458, 0.13003928465869191}},
      {"adamw",
       0.01,
       Adam{0.9, 0.999, 1e-8, 0.05, true},
       {0.4708002411424439, -0.96886239630690907, 1.9680665157153605, 0.12928621484771369}},
      {"adadelta", 1, Adadelta{}, {0.48727451587984383, -0.9886392207525753, 1.9876393232172938, 0.11177290844756516}},
      {"adadelta decay",
       0.5,
       Adadelta{0.8, 1e-4, 0.02},
       {0.45574271470930633, -0.9597509517176175, 1.9564869601635968, 0.14202959609571925}},
  };
  return cases;
}

}  // namespace descent::test
