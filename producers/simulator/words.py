"""What the simulated users are called, and what they write."""

import random

_NAMES = (
    "ada grace linus margaret alan barbara edsger donald radia tim vint katherine dorothy frances jean "
    "betty kathleen ida hedy annie evelyn sophie karen shafi adele anita carol ellen fei hannah irene "
    "joan klara lena maria nina olga paula rosa sara tara ursula vera wanda yara zoe amir bruno carlos "
    "dmitri emil felix gustav hugo igor jonas kofi leo mateo noah omar pablo quentin ravi samir tomas "
    "ulrich viktor wei xavier yusuf zane abeba chidi daniela elif farah giulia haruka imani jasmin keiko "
    "leila mei naoko oluwaseun priya rania soraya thandiwe uma valentina wangari ximena yuki zainab"
)
NAMES = _NAMES.split()

_SCENES = (
    "Morning light over the harbour",
    "The mountain after the storm",
    "A quiet street in the old town",
    "Market day",
    "First frost in the garden",
    "The last ferry home",
    "Lunch on the roof",
    "A bridge I walk every day",
    "Night train",
    "The dunes at low tide",
    "Somebody left this piano outside",
    "Sunday at the lake",
    "The bakery at five in the morning",
    "Fog in the valley",
    "Our new studio, at last",
    "A window seat",
    "Rain, finally",
    "The lighthouse from below",
    "Forty kilometres later",
    "Colours from the workshop",
)
_ENDINGS = ("", "", "", ".", "!", " ☀️", " 🌊", " 🌿", " #nofilter", " #home", " - what do you think?")
_REMARKS = (
    "Beautiful!",
    "Where is this?",
    "I was there last summer",
    "That light!",
    "Wow",
    "Take me with you",
    "This made my day",
    "Love the colours",
    "How did you do that?",
    "So good",
    "I need to go there",
    "Looks cold 🥶",
    "Looks like a painting",
    "My favourite of yours so far",
    "More of these, please",
    "Is that your dog at the edge?",
    "Saved for later",
    "Greetings from the other side of the lake",
    "😍",
    "👏👏👏",
    "Hahaha, classic",
    "I can smell the sea",
    "You are getting better and better",
    "Which camera?",
    "Not the same without you",
)


def user_names(count: int) -> list[str]:
    """Identifiers of so many users: first names, then first names with a number."""
    rounds = [NAMES] + [[f"{name}_{number}" for name in NAMES] for number in range(2, count // len(NAMES) + 2)]
    return [name for names in rounds for name in names][:count]


def caption(rng: random.Random) -> str:
    """What one writes under a picture of one's own; now and then nothing."""
    return "" if rng.random() < 0.05 else rng.choice(_SCENES) + rng.choice(_ENDINGS)


def remark(rng: random.Random) -> str:
    """What one writes under a picture of somebody else."""
    return " ".join(rng.sample(_REMARKS, rng.choice((1, 1, 1, 2))))
