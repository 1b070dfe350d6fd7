// Op cases of the lookups, with table rows that are used twice and rows that are never used.
#include "ops/cases/op_case.h"

namespace descent::ops {

void add_indexing_cases(Cases& cases) {
  cases.push_back({"embedding",
                   "",
                   {{{6, 5}}},
                   [](const Inputs& in) {
                     return embedding(in[0], case_indices(in[0], {2, 0, 2, 5, 4, 2}, {2, 3}));
                   },
                   0});
  cases.push_back({"index_select",
                   "",
                   {{{5, 3, 2}}},
                   [](const Inputs& in) {
                     return index_select(in[0], case_indices(in[0], {4, 1, 1, 0}, {4}));
                   },
                   0});
  cases.push_back({"index_select",
                   "no rows",
                   {{{5, 3}}},
                   [](const Inputs& in) { return index_select(in[0], case_indices(in[0], {}, {0})); },
                   0});
}

}  // namespace descent::ops
