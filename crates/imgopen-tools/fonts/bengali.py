"""Makes the below-base forms of a Bengali font plain ligatures, in place.

The font asks for them by a rule about two characters that leads to the ligatures. HarfBuzz understands both; harfrust, which shapes
the texts, takes such a rule (contextual substitution, format 3) for one about three characters when it looks for consonants with a
form below others, so that it finds none.
"""

import sys

from fontTools.ttLib import TTFont

font = TTFont(sys.argv[1])
table = font["GSUB"].table
for feature in table.FeatureList.FeatureRecord:
    if feature.FeatureTag != "blwf":
        continue
    (rule,) = feature.Feature.LookupListIndex
    pairs, targets = set(), set()
    for part in table.LookupList.Lookup[rule].SubTable:
        (record,) = part.SubstLookupRecord
        first, second = part.Coverage
        assert part.Format == 3 and record.SequenceIndex == 0
        pairs |= {(one, other) for one in first.glyphs for other in second.glyphs}
        targets.add(record.LookupListIndex)
    (target,) = targets
    ligatures = table.LookupList.Lookup[target].SubTable
    made = {(first, *ligature.Component) for part in ligatures for first in part.ligatures for ligature in part.ligatures[first]}
    assert made == pairs, "the ligatures are others than those of the rule"
    feature.Feature.LookupListIndex = [target]
font.save(sys.argv[1])
