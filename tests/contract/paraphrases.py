"""Questions and answers that mean the same and share almost no word."""

PAIRS = [
    ("relocation stress", "Moving house left me exhausted and on edge for weeks."),
    ("trouble with the landlord", "The owner of our apartment kept the deposit and ignores our calls."),
    ("Who feels lonely?", "I have no friends here and spend every evening alone."),
    ("late delivery of furniture", "The couch we ordered should have come on Monday; today is Friday."),
    ("financial worries", "We are running out of money and I am afraid of the bills."),
    ("making friends in a new town", "We got to know people since we came to this city and meet them on weekends."),
    ("a child changing schools", "My daughter misses her old classmates and teacher."),
    ("things damaged in transport", "Grandmother's vase was broken when the van arrived."),
    ("loud neighbours", "The people upstairs play drums at two in the morning."),
    ("a long way to the office", "The commute by train takes me three hours every day."),
    ("quarrels in a marriage", "My husband and I argued and shouted at each other."),
    ("travelling with pets", "The cat hated the carrier and meowed the whole journey."),
    ("government bureaucracy", "At the town hall officials wanted yet another form and one more signature."),
    ("homesick for the place of my youth", "I long for the village where I grew up."),
    ("job interview", "They asked me why I wanted the position and where I see myself in five years."),
    ("medical emergency", "He collapsed in the stairwell and the ambulance took him to hospital."),
    ("cold apartment in winter", "The radiators barely get warm, we sit in coats in January."),
    ("proud of what was achieved", "I built it all by myself and I am so happy with the result!"),
    ("slow internet", "It takes a minute for a single web page to load at our place."),
    ("learning a language", "I practise twenty verbs a day but at the shop I still point with my finger."),
]
