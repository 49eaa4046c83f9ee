class Attention(Module):
    def forward(self, x, mask=None):
        """Heads look at each other."""
        query = self.query(x).view(1, 4, 2, 8)
        key = self.key(
            x,
        ).view(1, 4, 2, 8)
        if mask is not None:
            key = key + mask
        scores = attend(query, key)
        return scores


def attend(query, key):
    weights = (query @ key.transpose(-1, -2)).softmax(-1)
    return weights @ key


class Model(Module):
    @checked
    def forward(self, ids):
        x = self.embed(ids)
        x = self.attention(x)
        return x
