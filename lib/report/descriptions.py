"""What each figure shows, in a sentence for those who cannot see it.

`save_figure` gives it to the notebooks, and report.typ and the README have the same text.
"""

DESCRIPTIONS = {
    "sprites": "A grid of images: each row is a character, and each column a pose, if poses are"
    " known.",
    "twins": "Two rows of images of two characters that share many images, and a third row with"
    " their difference, which is black in many columns.",
    "loss_curves": "Line plots over the images seen: the squared error, the KL term, and the errors"
    " of validation swaps and reconstructions beside three simple predictors.",
    "cycles": "Diagram of both cycles with images: two images of a character exchange s and are"
    " decoded; one sampled z is decoded with the s of two characters.",
    "pose_maps": "A row of training images, and below each its edges and its outline, which"
    " matching compares.",
    "matches": "A grid of training images: each row is a character, and each column holds images"
    " that training matched as the same pose.",
    "style_transfer_actions": "Grids of images. Left: decoded swaps, with s from the top row and z"
    " from the left column. Right, if they are known: the true images in the same layout.",
    "style_transfer_variety": "The same grids with other images, chosen at random.",
    "predictors": "Bar chart of the PSNR of swaps and reconstructions, and of the simple"
    " predictors.",
    "worst_swaps": "A grid with the ten swaps of the largest error, one in each column: the s"
    " image, the z image, the decoded swap and the true image.",
    "agreement": "Line plot: the share of swaps whose identity and whose pose the judge recognises,"
    " against the PSNR of the swap.",
    "prior_samples": "A grid of decoded images: each row has the s of one character, each column"
    " one z drawn from N(0, I) or from a mixture that was fitted to z.",
    "interpolation_1": "A grid of eight by eight decoded images between two corners: s changes"
    " from left to right, z changes from top to bottom. The two source images stand beside it.",
    "interpolation_2": "The same grid of eight by eight decoded images for a second pair.",
    "paths": "Rows of decoded images along paths: one code moves from one image to another while"
    " the other code is constant.",
    "mix": "An animation of sprites: the s of one character becomes that of another while z is"
    " constant, then the z of one pose becomes that of another while s is constant, and back.",
    "axes": "Rows of decoded images: in each row, one number of z goes from one end of its range"
    " to the other while the others and s are constant.",
    "probes": "Bar chart of the accuracy of probes for identity, attributes and pose on each code,"
    " between the majority-class baseline and the Bayes ceiling.",
    "blocks": "Heat map: the fraction of the entropy of each factor that s and the mean of z"
    " explain.",
    "prediction": "Rows of images: the true ones, and those decoded from both codes, from a"
    " predicted s and from a predicted z.",
    "maps": "Scatter plots of s and of the mean of z, by t-SNE and by two principal"
    " components, coloured by identity and by the first factor of the pose.",
    "study_differences": "Forest plot: the paired difference of each method to “ours”, in the PSNR"
    " of swaps, in the pose that s tells and in the mean leak of z, with 95 % intervals.",
    "study_swaps": "Rows of sprites: the s images, the z images and the true images, and below them"
    " the swaps of each method, a row each.",
    "study_curves": "Line plots of the PSNR of validation swaps against the images seen, a line for"
    " each method.",
    "cost": "Line plots of the time of a training pair and of the peak memory against the number of"
    " images, their size, both codes and the batch.",
}

# figures with images of the data set, or decoded ones, which look like them
SHOWING_IMAGES = (
    "sprites",
    "twins",
    "cycles",
    "pose_maps",
    "matches",
    "style_transfer_actions",
    "style_transfer_variety",
    "worst_swaps",
    "prior_samples",
    "interpolation_1",
    "interpolation_2",
    "paths",
    "axes",
    "mix",
    "prediction",
)
