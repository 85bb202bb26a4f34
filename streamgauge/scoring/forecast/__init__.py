"""Where the water will be in five minutes to six hours, with a band that holds nine outcomes of ten.

``window_features`` says what is known at an issue; ``model`` makes proposals of it; ``track`` learns per station which of them
to believe and how wide the band must be; ``issue`` is the whole way, live and in replay alike.
"""
